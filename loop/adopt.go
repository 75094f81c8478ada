package loop

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// Attach gives an open connection of package net to the loop that has the fewest connections. It
// is the inverse of Conn.Detach: use it for a connection that net/http has given up (Hijack), that
// was detached from another loop, or that a listener or dialer of your own has made.
//
// accept is called on the loop, as for an accepted connection, and returns its handler. Then the
// handler's Opened is called, and Data with unread: bytes that were read from conn already, such
// as those in a bufio.Reader. Data gets what the socket receives after them, so that the handler
// sees the whole stream, in order. unread is copied. It may be longer than Config.MaxUnreadBytes:
// Data gets all of it at once, and the limit applies to what Data leaves. If accept
// returns a handler of package tlsconn, the stream, unread included, begins with the handshake, and Data gets what was
// decrypted.
//
// conn is a *net.TCPConn, a *net.UnixConn of network "unix", or another type with SyscallConn
// and such a socket. If Attach returns nil, the loop owns the connection: it uses a duplicate of
// the descriptor, and conn is closed. No other goroutine may be reading or writing conn. Its
// deadlines do not apply any more, and Config.LingerTimeout replaces SO_LINGER. Other socket options
// stay as they are, keep-alive included, except those given here, which are as for
// sock.Stream.SetOptions. Back-pressure is as for accepted connections. If the loop ends before it
// has called accept, or cannot serve the connection, which is rare and is logged, the connection is
// closed and accept is not called.
//
// If Attach returns an error, the caller still owns conn, which is as before, except that some of
// the options may have been set. The error is a *net.OpError: ErrBadArgument (conn or accept is
// nil, the socket is of another kind, or an option is invalid or does not apply to it),
// errors.ErrUnsupported (conn has no socket of its own, as a *tls.Conn or net.Pipe, or it is a
// socket of package net on Windows, which the backend "overlapped" cannot serve), ErrTooManyConns,
// ErrClosed (conn is closed, or the group shuts down), or the system's when out of
// descriptors (EMFILE).
//
// Attach never waits, and may be called from any goroutine, also in a callback.
func (g *Group) Attach(conn net.Conn, unread []byte, accept func(*Conn) Handler, options ...sock.Option) error {
	return g.leastLoaded().Attach(conn, unread, accept, options...)
}

// AttachStream is Attach of a non-blocking socket, and the inverse of Conn.DetachStream; for a
// *sock.TCPStream or *sock.UnixStream x, pass &x.Stream. The stream must be connected:
// ConnectError must return nil. If AttachStream returns nil, the loop has its descriptor,
// and s is closed. Additional errors are ErrBadArgument if s is not connected yet, or another call
// on s is in progress, and pollux.ErrOtherPoll if s is registered with a Poll or watched by a
// loop.
func (g *Group) AttachStream(s *sock.Stream, unread []byte, accept func(*Conn) Handler, options ...sock.Option) error {
	return g.leastLoaded().AttachStream(s, unread, accept, options...)
}

// Attach is Group.Attach on this loop.
func (l *Loop) Attach(conn net.Conn, unread []byte, accept func(*Conn) Handler, options ...sock.Option) error {
	if handle.IsNil(conn) {
		return attachError(nil, errNil("a connection"))
	}
	if err := l.checkAttach(accept); err != nil {
		return attachError(conn, err)
	}
	own, ok := conn.(syscall.Conn)
	if !ok {
		return attachError(conn, fmt.Errorf("%w: %T has no socket of its own; attach the *net.TCPConn or *net.UnixConn below it, and have the handler do what it does", errors.ErrUnsupported, conn))
	}
	s, err := sock.FromConn(own)
	if err != nil {
		return attachError(conn, err)
	}
	if err := l.adopt(s, conn.RemoteAddr(), unread, accept, options); err != nil {
		s.Close()
		return attachError(conn, err)
	}
	conn.Close() // the loop has a duplicate
	return nil
}

// AttachStream is Group.AttachStream on this loop.
func (l *Loop) AttachStream(s *sock.Stream, unread []byte, accept func(*Conn) Handler, options ...sock.Option) error {
	if s == nil {
		return attachError(nil, errNil("a stream"))
	}
	err := l.checkAttach(accept)
	if err == nil {
		err = l.adopt(s, nil, unread, accept, options)
	}
	if err != nil {
		return stream.Of(s).Handle.OpError("attach", causeOf(err))
	}
	return nil
}

// checkAttach returns an error if Attach would fail whatever the connection.
func (l *Loop) checkAttach(accept func(*Conn) Handler) error {
	if accept == nil {
		return errNil("a function that returns the handler")
	}
	if l.failed.Load() != nil {
		return l.endedError()
	}
	return l.g.ended()
}

// attachError returns err as the *net.OpError of attaching conn, which may be nil.
func attachError(conn net.Conn, err error) error {
	e := &net.OpError{Op: "attach", Net: "tcp", Err: causeOf(err)}
	if conn != nil {
		if e.Addr = conn.RemoteAddr(); e.Addr != nil {
			e.Net = e.Addr.Network()
		}
		e.Source = conn.LocalAddr()
	}
	return e
}

// adopt moves the socket of s into a new connection, which the loop opens. If it returns an error,
// s is unchanged. remote is the peer's address for the case that the system does not have it.
func (l *Loop) adopt(s *sock.Stream, remote net.Addr, unread []byte, accept func(*Conn) Handler, options []sock.Option) error {
	from := stream.Of(s)
	if err := l.g.checkNetwork(from.Handle); err != nil {
		return err
	}
	if l.binds && from.Handle.Adopted() {
		return fmt.Errorf("%w: the socket belongs to package net's completion port; set Config.Backend to \"iocp\", which can serve it", errors.ErrUnsupported)
	}
	c := l.newConn()
	c.accepted = &l.g.attached
	switch a := s.RemoteNetAddr().(type) {
	case *net.TCPAddr:
		l.peers.add(c, a.AddrPort())
	case nil:
		if remote != nil {
			c.makeExtrasLocked().remote = remote
		}
	}
	if len(unread) > 0 {
		unread = append([]byte(nil), unread...)
	}
	if !l.g.limits.Reserve() {
		return ErrTooManyConns
	}
	l.load.Add(1)
	err := s.SetOptions(options...)
	if err == nil {
		err = l.putAdopted(c, from, unread, accept)
	}
	if err != nil {
		l.load.Add(-1)
		l.g.limits.Release()
	}
	return err
}

// putAdopted moves the socket into c, and has the loop open it. Both are done or neither.
func (l *Loop) putAdopted(c *Conn, from stream.Stream, unread []byte, accept func(*Conn) Handler) error {
	return l.putIf(op{f: func() { c.attachAdopted(unread, accept) }}, func() error {
		return from.MoveTo(stream.Of(&c.stream).Handle)
	})
}

// attachAdopted is attach for a connection given to Attach.
func (c *Conn) attachAdopted(unread []byte, accept func(*Conn) Handler) {
	c.stream.SetLinger(-1) // or closing might block
	if !c.added() {
		return
	}
	if err := c.loop.drv.Attach(&c.stream); err != nil {
		c.refused(err)
		return
	}
	c.loop.counts.attached++
	if len(unread) > 0 {
		c.keepUnread(unread)
	}
	c.loop.call(workAttached, accept, func() { c.opened(accept) })
}
