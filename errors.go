package pollux

import (
	"errors"
	"fmt"
)

// The errors of misuse, the same on every platform. They come wrapped in an
// *OpError; compare with errors.Is.
var (
	// ErrClosed: the Poll has been closed.
	ErrClosed = errors.New("poll is closed")
	// ErrRegistered: the source is registered with this Poll already.
	ErrRegistered = errors.New("source is already registered; change it with Reregister")
	// ErrNotRegistered: the source is not registered with any Poll.
	ErrNotRegistered = errors.New("source is not registered; call Register first")
	// ErrOtherPoll: the source is registered with another Poll, or a loop of package loop
	// watches it. A descriptor can be watched by two when it is duplicated.
	ErrOtherPoll = errors.New("source is registered with another Poll, or watched by a loop; end that first, or duplicate the source")
	// ErrNotPollable: the kernel tells no readiness of this kind of file. A
	// regular file or directory is always ready.
	ErrNotPollable = errors.New("cannot be watched; read and write it on a goroutine of its own")
	// ErrSourceClosed: the source has been closed or detached, or is nil.
	ErrSourceClosed = errors.New("source is closed")
	// ErrNoInterest: the interest is empty or has unknown bits.
	ErrNoInterest = errors.New("interest must be one or more of Readable, Writable and Priority")
	// ErrBadTrigger: the trigger has unknown bits.
	ErrBadTrigger = errors.New("trigger must be Edge or Level, with or without Oneshot")
	// ErrNoRoom: Wait was given no room for an event.
	ErrNoRoom = errors.New("the slice of events is empty; give room for one at least")
	// ErrTooMany: the Poll holds as many registrations as it can, 2^26.
	ErrTooMany = errors.New("too many registrations for one Poll; use several")
	// ErrBackend: the backend asked for does not exist or is not usable here.
	ErrBackend = errors.New("backend is not available")
	// ErrBadOption: an option's value is out of its range.
	ErrBadOption = errors.New("option is out of range")

	errNoSource = fmt.Errorf("a source is needed, not nil (%w)", ErrSourceClosed)
)

// An OpError tells which operation on a Poll failed, on what, and why.
type OpError struct {
	// Op is "new", "register", "reregister", "deregister", "wait", "waker",
	// "wake" or "close".
	Op string
	// Source is what it was to be done on, in words; empty if that is the Poll.
	Source string
	// Err is one of this package's errors or a kernel's, as a syscall.Errno.
	Err error
}

// Error implements error.
func (e *OpError) Error() string {
	if e.Source == "" {
		return fmt.Sprintf("pollux: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("pollux: %s %s: %v", e.Op, e.Source, e.Err)
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }
