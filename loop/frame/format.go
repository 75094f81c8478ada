package frame

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/misuse"
)

// MaxFrameBytes is the largest value of a format's MaxBytes, 1 GiB: the length of any frame, with
// its header or delimiter, fits into an int of 32 bits.
const MaxFrameBytes = 1 << 30

// A Format finds frames. Delimited, Prefixed, Varint and Scanner implement it, by pointer; Each
// also accepts others.
type Format interface {
	// Next finds the frame at the start of b. n is its length there, with header or delimiter,
	// and at least 1; frame is the part of b that is its content, and may be empty. If b ends
	// before the frame does, n is 0: call Next again with the same bytes and more. With an
	// error n is 0, too, and the rest of the stream cannot be interpreted.
	Next(b []byte) (n int, frame []byte, err error)
}

var (
	_ Format = (*Delimited)(nil)
	_ Format = (*Scanner)(nil)
	_ Format = (*Prefixed)(nil)
	_ Format = (*Varint)(nil)
)

var (
	// ErrBadArgument is wrapped by errors for an invalid format or argument. It is
	// loop.ErrBadArgument, and matches syscall.EINVAL with errors.Is.
	ErrBadArgument = misuse.ErrBadArgument
	// ErrStop, returned by the function given to Each, makes Each return without an error.
	ErrStop = errors.New("frame: stop after this frame")
)

// Each calls handle with each complete frame in b, in order, and returns how many bytes the
// frames have that handle was called with: what Data must return as consumed. After that many
// bytes an incomplete frame begins, or b ends.
//
// If handle returns an error, Each returns it at once, and counts that frame as consumed. If the
// error is ErrStop, Each returns nil in its place: for a handler that has called Pause, Close,
// Detach or SetHandler. An error of f.Next is returned after the frames before it have been handled.
func Each(f Format, b []byte, handle func(frame []byte) error) (consumed int, err error) {
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
