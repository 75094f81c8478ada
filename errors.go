package pollux

import (
	"github.com/pollux-io/pollux/internal/backend"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/queue"
)

// Errors of misuse, the same on every platform. They are wrapped in an *OpError;
// test for them with errors.Is. ErrNoInterest, ErrBadTrigger and ErrNoRoom wrap ErrBadArgument.
var (
	// ErrClosed: the Poll has been closed.
	ErrClosed = queue.ErrClosed
	// ErrRegistered: the source is already registered with this Poll.
	ErrRegistered = queue.ErrRegistered
	// ErrNotRegistered: the source is not registered with any Poll.
	ErrNotRegistered = queue.ErrNotRegistered
	// ErrOtherPoll: the source is registered with another Poll, or a loop of package loop
	// watches it. To have two queues watch a descriptor, duplicate it.
	ErrOtherPoll = queue.ErrOtherPoll
	// ErrNotPollable: the kernel does not report readiness for this kind of file. A
	// regular file or directory is always ready.
	ErrNotPollable = queue.ErrNotPollable
	// ErrSourceClosed: the source has been closed or detached, or is nil, which is also
	// ErrBadArgument.
	ErrSourceClosed = queue.ErrSourceClosed
	// ErrNoInterest: the interest is empty or has unknown bits.
	ErrNoInterest = queue.ErrNoInterest
	// ErrBadTrigger: the trigger has unknown bits.
	ErrBadTrigger = queue.ErrBadTrigger
	// ErrNoRoom: the slice passed to Wait has length 0.
	ErrNoRoom = queue.ErrNoRoom
	// ErrTooMany: the Poll has its maximum of 2^26 registrations.
	ErrTooMany = queue.ErrTooMany
	// ErrBackend: the requested backend does not exist or is not usable on this machine.
	ErrBackend = backend.ErrUnavailable
	// ErrBadArgument: an argument or an option is nil or out of range. It is the same error as
	// sock.ErrBadArgument and loop.ErrBadArgument, and matches syscall.EINVAL with errors.Is.
	ErrBadArgument = misuse.ErrBadArgument
)

// An OpError describes a failed operation on a Poll, and is what the errors of its methods are. Its
// fields are
//
//	Op     string // "new", "register", "reregister", "deregister", "wait", "waker", "wake" or "close"
//	Source string // the source operated on; empty if that is the Poll itself
//	Err    error  // the cause: one of this package's errors, or the kernel's, a syscall.Errno
type OpError = queue.OpError
