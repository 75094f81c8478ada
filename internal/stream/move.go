package stream

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/misuse"
)

// MoveTo moves the socket of a connected stream to another Handle, on which Init must not have
// been called; the stream is closed then. If it returns an error, nothing has changed.
func (s Stream) MoveTo(to *handle.Handle) error {
	err := s.ConnectError()
	if errors.Is(err, ErrWouldBlock) {
		err = fmt.Errorf("%w: the stream is not connected yet; wait until ConnectError returns nil", misuse.ErrBadArgument)
	}
	if err != nil {
		return err
	}
	return s.Handle.MoveTo(to)
}
