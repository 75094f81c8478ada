package queue

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/handle"
)

// The errors of this package, wrapped in an *OpError. The root package documents them.
var (
	ErrClosed        = errors.New("poll is closed")
	ErrRegistered    = handle.ErrRegistered
	ErrNotRegistered = handle.ErrNotRegistered
	ErrOtherPoll     = handle.ErrOtherPoll
	ErrNotPollable   = errors.New("source cannot be polled; read and write it on a goroutine of its own")
	ErrSourceClosed  = errors.New("source is closed")
	ErrNoInterest    = errors.New("interest must be one or more of Readable, Writable and Priority")
	ErrBadTrigger    = errors.New("trigger must be Edge or Level, with or without Oneshot")
	ErrNoRoom        = errors.New("slice of events is empty; its length must be at least 1")
	ErrTooMany       = errors.New("too many registrations for one Poll; use several")

	errNoSource = fmt.Errorf("source is nil (%w)", ErrSourceClosed)
)

// An OpError describes a failed operation on a Poll. It has the fields and the text of
// pollux.OpError, which it is converted to.
type OpError struct {
	Op     string
	Source string
	Err    error
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
