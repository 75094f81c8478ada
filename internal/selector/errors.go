package selector

import "errors"

var (
	// ErrExists means that this selector already watches the descriptor.
	ErrExists = errors.New("descriptor is already registered")
	// ErrNotPollable means that the kernel reports no readiness for this kind of file.
	ErrNotPollable = errors.New("descriptor cannot be polled")
	// ErrFull means that every slot of the table is in use or retired.
	ErrFull = errors.New("registration table is full")
)
