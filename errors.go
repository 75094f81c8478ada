package pollux

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/handle"
)

// Errors of misuse, the same on every platform. They are wrapped in an *OpError;
// test for them with errors.Is.
var (
	// ErrClosed: the Poll has been closed.
	ErrClosed = errors.New("poll is closed")
	// ErrRegistered: the source is already registered with this Poll.
	ErrRegistered = handle.ErrRegistered
	// ErrNotRegistered: the source is not registered with any Poll.
	ErrNotRegistered = handle.ErrNotRegistered
	// ErrOtherPoll: the source is registered with another Poll, or a loop of package loop
	// watches it. To have two queues watch a descriptor, duplicate it.
	ErrOtherPoll = handle.ErrOtherPoll
	// ErrNotPollable: the kernel does not report readiness for this kind of file. A
	// regular file or directory is always ready.
	ErrNotPollable = errors.New("source cannot be polled; read and write it on a goroutine of its own")
	// ErrSourceClosed: the source has been closed or detached, or is nil.
	ErrSourceClosed = errors.New("source is closed")
	// ErrNoInterest: the interest is empty or has unknown bits.
	ErrNoInterest = errors.New("interest must be one or more of Readable, Writable and Priority")
	// ErrBadTrigger: the trigger has unknown bits.
	ErrBadTrigger = errors.New("trigger must be Edge or Level, with or without Oneshot")
	// ErrNoRoom: the slice passed to Wait has length 0.
	ErrNoRoom = errors.New("slice of events is empty; its length must be at least 1")
	// ErrTooMany: the Poll has its maximum of 2^26 registrations.
	ErrTooMany = errors.New("too many registrations for one Poll; use several")
	// ErrBackend: the requested backend does not exist or is not usable on this machine.
	ErrBackend = errors.New("backend is not available")
	// ErrBadOption: an option is nil or its value is out of range.
	ErrBadOption = errors.New("option is out of range")

	errNoSource = fmt.Errorf("source is nil (%w)", ErrSourceClosed)
)

// An OpError describes a failed operation on a Poll: what was attempted, on which
// source, and the cause.
type OpError struct {
	// Op is "new", "register", "reregister", "deregister", "wait", "waker",
	// "wake" or "close".
	Op string
	// Source describes the source operated on; empty if that is the Poll itself.
	Source string
	// Err is one of this package's errors or the kernel's, a syscall.Errno.
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
