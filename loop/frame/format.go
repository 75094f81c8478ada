package frame

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/misuse"
)

// MaxFrameBytes is the largest valid MaxBytes of a format, 1 GiB: the length of any frame, with its
// header or delimiter, fits into an int of 32 bits.
const MaxFrameBytes = 1 << 30

// A Format finds frames in bytes. *Delimited, *Prefixed, *Varint and *Scanner implement it; Each
// also accepts other implementations.
type Format interface {
	// Next finds the frame at the start of b. n is its length in b, with header or delimiter, and
	// at least 1; frame is the part of b that is its content, and may be empty. If b ends before
	// the frame does, n is 0 and err is nil: call Next again with the same bytes and those that
	// follow. With an error n is 0, too, and the rest of the stream cannot be interpreted.
	Next(b []byte) (n int, frame []byte, err error)
}

var (
	_ Format = (*Delimited)(nil)
	_ Format = (*Scanner)(nil)
	_ Format = (*Prefixed)(nil)
	_ Format = (*Varint)(nil)
)

var (
	// ErrBadArgument means that a format, a field of it, or an argument is nil or out of range. It is
	// loop.ErrBadArgument, and matches syscall.EINVAL with errors.Is.
	ErrBadArgument = misuse.ErrBadArgument
	// ErrStop makes Each return without an error, if the function given to Each returns it.
	ErrStop = errors.New("frame: stop after this frame")
)

// Each calls handle with each complete frame in b, in order. consumed is the length of these
// frames, with headers and delimiters, in bytes: what Data must return. An incomplete frame may
// follow.
//
// If handle returns an error, Each returns it at once, and counts that frame as consumed. If the
// error is or wraps ErrStop, Each returns nil instead: for a handler that has called Pause, Close,
// Detach or SetHandler. An error of f.Next is returned after the frames before it have been
// handled. If f or handle is nil, the error wraps ErrBadArgument.
func Each(f Format, b []byte, handle func(frame []byte) error) (consumed int, err error) {
	if f == nil || handle == nil {
		return 0, fmt.Errorf("frame: %w: Each needs a format and a function, not nil", ErrBadArgument)
	}
	for {
		n, frame, err := f.Next(b[consumed:])
		if n == 0 || err != nil {
			return consumed, err
		}
		consumed += n
		switch err := handle(frame); {
		case err == nil:
		case errors.Is(err, ErrStop):
			return consumed, nil
		default:
			return consumed, err
		}
	}
}

// validMax reports whether maxBytes is a valid maximum.
func validMax(maxBytes int) bool { return uint(maxBytes-1) < MaxFrameBytes }

// errMax returns the error for a maximum that is not valid.
func errMax(format string, maxBytes int) error {
	return fmt.Errorf("frame: %w: %s.MaxBytes is %d; it must be from 1 to %d", ErrBadArgument, format, maxBytes, MaxFrameBytes)
}

// must panics if err is not nil, in functions that do not return errors.
func must(err error) {
	if err != nil {
		panic(err.Error())
	}
}

// errPayloadBytes returns the error for a negative length.
func errPayloadBytes(n int) error {
	return fmt.Errorf("frame: %w: the payload has %d bytes; the number must not be negative", ErrBadArgument, n)
}
