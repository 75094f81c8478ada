package selector

import "errors"

var (
	// ErrExists: the descriptor is already watched by this selector.
	ErrExists = errors.New("descriptor is already registered")
	// ErrNotPollable: the kernel offers no readiness for this kind of file.
	ErrNotPollable = errors.New("descriptor cannot be polled")
	// ErrFull: every key of the table is in use or used up.
	ErrFull = errors.New("registration table is full")
)
