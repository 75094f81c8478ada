package driver

import (
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/sys"
)

// A stream that is dialed is prepared first: it has a socket, and an address that the
// socket is to be connected to. Then a driver connects it, by BeginConnect or by an
// operation of its own, the end of which it records by ConnectEnded. So what
// ConnectError tells is the same on all drivers.

// PrepareTCP makes the socket of s, which is new, without connecting it.
func PrepareTCP(s *Stream, to netip.AddrPort) error { return hook.PrepareTCP(&s.Stream, to) }

// PrepareUnix makes the socket of s, which is new, without connecting it.
func PrepareUnix(s *Stream, name string) error { return hook.PrepareUnix(&s.Stream, name) }

// Delays reports whether what the listener accepts is to be left with Nagle's algorithm
// (sock.Delay): drivers that accept by themselves switch it off otherwise.
func (l *Listener) Delays() bool { return hook.Delays(l.Acceptor) }

// ConnectTo returns where a prepared stream is to be connected to. The memory stays as
// it is until ConnectEnded, or for as long as the stream.
func (s *Stream) ConnectTo() *sys.Sockaddr { return hook.ConnectTo(&s.Stream) }

// BeginConnect has the system begin to connect a prepared stream, as sock.ConnectTCP
// does: ConnectError tells how it ends. An error is how it has ended already.
func (s *Stream) BeginConnect() error { return hook.BeginConnect(&s.Stream) }

// ConnectEnded records how connecting has ended, zero for well, unless that is known
// already, and returns what ConnectError tells from then on.
func (s *Stream) ConnectEnded(e syscall.Errno) error { return hook.ConnectEnded(&s.Stream, e) }

// TakeFailure returns the error that an open connection has failed with, nil if it has not.
// It takes the error off the socket (SO_ERROR; socket(7)), so that the end of the stream is
// all that is left to be read after what was received. A reset is ECONNRESET whichever side
// had ended before: Linux has EPIPE once the peer has sent FIN.
func (s *Stream) TakeFailure() error {
	h := s.PollHandle()
	fd, ok := h.Use()
	if !ok {
		return nil
	}
	e := sys.SocketError(fd)
	h.Done()
	switch e {
	case 0:
		return nil
	case syscall.EPIPE:
		e = syscall.ECONNRESET
	}
	return s.Failure(e)
}

// Failure makes the error of a connection that has failed with e.
func (s *Stream) Failure(e syscall.Errno) error {
	return &net.OpError{Op: "read", Net: s.PollHandle().Kind().Network(), Source: s.LocalNetAddr(), Addr: s.RemoteNetAddr(), Err: e}
}

// Unread returns how many bytes the system has received that were not read, or false if it
// cannot tell.
func (s *Stream) Unread() (n int, ok bool) {
	h := s.PollHandle()
	if fd, open := h.Use(); open {
		n, ok = sys.Received(fd)
		h.Done()
	}
	return n, ok
}

// Queued returns how many bytes the system holds that the peer has not acknowledged, or
// false if it cannot tell.
func (s *Stream) Queued() (int, bool) { return hook.Queued(&s.Stream) }
