// Package stream is the mechanism of stream sockets, TCP and Unix: connecting, accepting,
// reading, writing, and what the kernel reports about a connection. Package sock makes the
// sockets and is the public form of it; the drivers (internal/driver) call it, by Of, for what
// sock does not offer: connecting by an operation of their own, and the failure and the buffers
// of a connection.
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

// Source is a stream socket of package sock: it embeds a handle.Held and a Connecting.
type Source interface {
	handle.Source
	connecting() *Connecting
}

// Connecting is the Attempt of a stream socket, to embed in an exported type: it has no exported
// fields or methods.
type Connecting struct{ attempt *Attempt }

func (c *Connecting) connecting() *Connecting { return c }

var _ interface{ connecting() *Connecting } = (*Connecting)(nil)

// Of returns the stream of a socket.
func Of(s Source) Stream { return Stream{handle.Of(s), s.connecting().attempt} }

// In returns a stream of its parts, for its owner.
func In(h *handle.Held, c *Connecting) Stream { return Stream{handle.In(h), c.attempt} }

// The attempt of a new stream that is not to be connected: of one that is only to be prepared, and of
// one that has the arguments checked.
var preparing, checking = &Attempt{}, &Attempt{Undo: func() {}}

// PrepareOnly makes sock.ConnectTCPInto and sock.ConnectUnixInto only prepare s, which must be new:
// they make the socket and do not connect it. The caller or a driver connects it, by BeginConnect or
// an operation of its own.
func PrepareOnly(s Source) { s.connecting().attempt = preparing }

// IsPreparing reports whether PrepareOnly was called for the stream that c is of, which is new.
func IsPreparing(c *Connecting) bool { return c.attempt == preparing }

// CheckOnly makes sock.ConnectTCPInto and sock.ConnectUnixInto only validate their arguments: they
// make no socket. s must be new, and is of no other use.
func CheckOnly(s Source) { s.connecting().attempt = checking }

// IsChecking reports whether CheckOnly was called for the stream that c is of.
func IsChecking(c *Connecting) bool { return c.attempt == checking }

// SetAttempt sets the attempt of the stream that c is of; nil if it is connected.
func SetAttempt(c *Connecting, a *Attempt) { c.attempt = a }

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
