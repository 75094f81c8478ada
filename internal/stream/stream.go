// Package stream is the mechanism of stream sockets, TCP and Unix: connecting, accepting,
// reading, writing, and what the kernel reports about a connection. Package sock makes the
// sockets and is the public form of it; the drivers (internal/driver) call it, through
// sock.Stream.Internal, for what sock does not offer: connecting by an operation of their
// own, and the failure and the buffers of a connection.
//
// Read connect.go first: the outcome of connecting decides what a failed transfer means.
package stream

import (
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

const (
	readable = selector.Readable
	writable = selector.Writable
)

// Stream refers to a stream socket, which its owner keeps: a sock.Stream. It is a small
// value, made for each call. Its methods may be called from any goroutine.
type Stream struct {
	Handle  *handle.Handle
	Attempt *Attempt // nil if the stream was created connected
}

// UnreadBytes returns the number of received bytes that the kernel holds, or false if the
// system does not report it.
func (s Stream) UnreadBytes() (n int, known bool) { return s.count(sys.UnreadBytes) }

// UnackedBytes returns the number of written bytes that the kernel holds because they are
// unsent, or the peer has not acknowledged them; or false if the system does not report it.
func (s Stream) UnackedBytes() (n int, known bool) { return s.count(sys.UnackedBytes) }

func (s Stream) count(bytes func(sys.FD) (int, bool)) (n int, known bool) {
	if fd, ok := s.Handle.Use(); ok {
		n, known = bytes(fd)
		s.Handle.Done()
	}
	return n, known
}
