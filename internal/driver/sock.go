package driver

import (
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/sys"
)

// A stream to be dialed is prepared first: it gets a socket and the address to connect to.
// Then a driver connects it, by BeginConnect or by an operation of its own, whose result it
// records by ConnectEnded. So ConnectError returns the same on all drivers.

// PrepareTCP creates the socket of the new stream s, without connecting it.
func PrepareTCP(s *Stream, to netip.AddrPort) error { return hook.PrepareTCP(&s.Stream, to) }

// PrepareUnix creates the socket of the new stream s, without connecting it.
func PrepareUnix(s *Stream, name string) error { return hook.PrepareUnix(&s.Stream, name) }

// Delays reports whether accepted connections keep Nagle's algorithm (sock.Delay). If not,
// drivers that accept by themselves switch it off.
func (l *Listener) Delays() bool { return hook.Delays(l.Acceptor) }

// ConnectTo returns the address to which a prepared stream is to be connected. Its memory
// does not change before ConnectEnded, or else for the stream's lifetime.
func (s *Stream) ConnectTo() *sys.Sockaddr { return hook.ConnectTo(&s.Stream) }

// BeginConnect starts connecting a prepared stream, as sock.ConnectTCP does; ConnectError
// returns the result. If BeginConnect returns an error, connecting has already failed.
func (s *Stream) BeginConnect() error { return hook.BeginConnect(&s.Stream) }

// ConnectEnded records the result of connecting, zero for success, unless one is already
// recorded. It returns what ConnectError returns from then on.
func (s *Stream) ConnectEnded(e syscall.Errno) error { return hook.ConnectEnded(&s.Stream, e) }

// TakeFailure returns the error that an open connection has failed with, nil if it has not.
// It clears the error on the socket (SO_ERROR; socket(7)), so that reads return the received
// data and then EOF. A reset is ECONNRESET whichever side closed first: Linux has EPIPE once
// the peer has sent FIN.
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

// Failure returns the error of a connection that has failed with e.
func (s *Stream) Failure(e syscall.Errno) error {
	return &net.OpError{Op: "read", Net: s.PollHandle().Kind().Network(), Source: s.LocalNetAddr(), Addr: s.RemoteNetAddr(), Err: e}
}

// Unread returns the number of received bytes that were not read; ok is false if the system
// does not provide it.
func (s *Stream) Unread() (n int, ok bool) {
	h := s.PollHandle()
	if fd, open := h.Use(); open {
		n, ok = sys.Received(fd)
		h.Done()
	}
	return n, ok
}

// Queued returns the number of bytes in the system's send queue, unsent or not acknowledged
// by the peer, or false if the system does not provide it.
func (s *Stream) Queued() (int, bool) { return hook.Queued(&s.Stream) }
