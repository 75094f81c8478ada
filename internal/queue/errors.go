package queue

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/misuse"
)

// The errors of this package, wrapped in an *OpError. The root package documents them.
var (
	ErrClosed        = errors.New("poll is closed")
	ErrRegistered    = handle.ErrRegistered
	ErrNotRegistered = handle.ErrNotRegistered
	ErrOtherPoll     = handle.ErrOtherPoll
	ErrNotPollable   = errors.New("source cannot be polled; read and write it on a goroutine of its own")
	ErrSourceClosed  = errors.New("source is closed")
	ErrNoInterest    = fmt.Errorf("%w: interest must be one or more of Readable, Writable and Priority", misuse.ErrBadArgument)
	ErrBadTrigger    = errors.New("trigger must be Edge or Level, with or without Oneshot")
	ErrNoRoom        = errors.New("slice of events is empty; its length must be at least 1")
	ErrTooMany       = errors.New("too many registrations for one Poll; use several")

	errNoSource = fmt.Errorf("source is nil (%w)", ErrSourceClosed)
)

// An OpError describes a failed operation on a Poll: what was attempted, on which source, and the
// cause. It is pollux.OpError: an alias there, so that the errors that come out of a driver are of
// the public type, too.
type OpError struct {
	// Op is "new", "register", "reregister", "deregister", "wait", "waker", "wake" or "close".
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
