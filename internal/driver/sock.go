package driver

import (
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

// Queued returns how many bytes the system holds that the peer has not acknowledged, or
// false if it cannot tell.
func (s *Stream) Queued() (int, bool) { return hook.Queued(&s.Stream) }
