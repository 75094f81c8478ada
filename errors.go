package pollux

import (
	"github.com/pollux-io/pollux/internal/backend"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/queue"
)

// Errors of a Poll and its wakers, the same on every platform. They are wrapped in an *OpError:
// test for them with errors.Is. ErrNoInterest, ErrBadTrigger and ErrNoRoom wrap ErrBadArgument.
var (
	// ErrClosed: the Poll, or the Waker, has been closed.
	ErrClosed = queue.ErrClosed
	// ErrRegistered: the source is already registered with this Poll.
	ErrRegistered = queue.ErrRegistered
	// ErrNotRegistered: the source is not registered with any Poll.
	ErrNotRegistered = queue.ErrNotRegistered
	// ErrOtherPoll: the source is registered with another Poll, or belongs to a loop of package
	// loop. To have two queues watch a descriptor, duplicate it.
	ErrOtherPoll = queue.ErrOtherPoll
	// ErrNotPollable: the kernel does not report readiness for this kind of file, such as a
	// regular file or a directory, which are always ready.
	ErrNotPollable = queue.ErrNotPollable
	// ErrSourceClosed: the source has been closed or detached, or is a zero value. A nil source
	// is this error and ErrBadArgument.
	ErrSourceClosed = queue.ErrSourceClosed
	// ErrNoInterest: the interest is empty or has unknown bits.
	ErrNoInterest = queue.ErrNoInterest
	// ErrBadTrigger: the trigger has unknown bits.
	ErrBadTrigger = queue.ErrBadTrigger
	// ErrNoRoom: the slice passed to Wait has length 0.
	ErrNoRoom = queue.ErrNoRoom
	// ErrTooMany: the Poll has its maximum of 2^26 registrations.
	ErrTooMany = queue.ErrTooMany
	// ErrBackend: the requested backend does not exist or is not usable on this machine, or no
	// backend is; the message has the reasons.
	ErrBackend = backend.ErrUnavailable
	// ErrBadArgument: an argument or an option is nil, invalid or out of range. It is the same
	// error as sock.ErrBadArgument and loop.ErrBadArgument, and matches syscall.EINVAL with
	// errors.Is.
	ErrBadArgument = misuse.ErrBadArgument
)

// An OpError describes a failed operation on a Poll or a Waker. All errors of New and of their
// methods are of type *OpError. Its fields are
//
//	Op     string // "new", "register", "reregister", "deregister", "wait", "waker", "wake" or "close"
//	Source string // the source operated on; empty if that is the Poll itself
//	Err    error  // the cause: wraps one of this package's errors, or the kernel's, a syscall.Errno
type OpError = queue.OpError
