package stream

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// TakeFailure returns the error that an open connection has failed with, or nil if it has
// not. It clears the error on the socket (SO_ERROR; socket(7)), so that reads return the
// received data and then EOF. A reset is ECONNRESET whichever side closed first: Linux has
// EPIPE once the peer has sent FIN.
func (s Stream) TakeFailure() error {
	fd, ok := s.Handle.Use()
	if !ok {
		return nil
	}
	e := sys.SocketError(fd)
	s.Handle.Done()
	switch e {
	case 0:
		return nil
	case syscall.EPIPE:
		e = syscall.ECONNRESET
	}
	return s.Failure(e)
}

// Failure returns the error of a connection that has failed with e.
func (s Stream) Failure(e syscall.Errno) error { return s.Handle.OpError("read", e) }
