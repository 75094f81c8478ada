package sock_test

import (
	"errors"
	"io"
	"net/netip"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// freePort returns an address of this host on which no socket listens.
func freePort(t *testing.T, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	l, err := sock.ListenTCP(at)
	must(t, err)
	defer l.Close()
	return l.Addr()
}

// connectToItself starts connecting a stream to its own address. The
// system does that by itself if it chooses the destination's port as the local port.
func connectToItself(t *testing.T, at netip.AddrPort) (*sock.TCPStream, error) {
	t.Helper()
	self := freePort(t, at)
	return sock.ConnectTCP(self, sock.LocalAddr(self), sock.ReuseAddr(true))
}

// A stream that is connected to itself has failed with ECONNREFUSED, whichever call comes
// first, and nothing is read or written on it.
func TestSelfConnectionIsRefused(t *testing.T) {
	b := []byte("hello")
	first := map[string]func(s *sock.TCPStream) error{
		"ConnectError": func(s *sock.TCPStream) error { return s.ConnectError() },
		"Write":        func(s *sock.TCPStream) error { _, err := s.Write(b); return err },
		"Writev":       func(s *sock.TCPStream) error { _, err := s.Writev([][]byte{b, b}); return err },
		"SendUrgent":   func(s *sock.TCPStream) error { return s.SendUrgent('!') },
	}
	for _, at := range []netip.AddrPort{loopback4, loopback6} {
		for name, call := range first {
			s, err := connectToItself(t, at)
			if err == nil {
				err = until(t, s, pollux.Writable, func() error { return call(s) })
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%v: %s: %v, want ECONNREFUSED", at, name, err)
			}
			if s == nil {
				continue
			}
			for range 2 {
				if err := s.ConnectError(); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%v: ConnectError after %s: %v", at, name, err)
				}
			}
			if n, err := s.Write(b); n != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%v: Write after %s: %d, %v", at, name, n, err)
			}
			if n, err := s.Read(make([]byte, 20)); n != 0 || err == io.EOF || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%v: Read after %s: %d, %v", at, name, n, err)
			}
			to := s.LocalAddr()
			must(t, s.Close())
			l, err := sock.ListenTCP(to, sock.ReuseAddr(false))
			if err != nil {
				t.Errorf("the port is not free after Close: %v", err)
				continue
			}
			l.Close()
		}
	}
}

// Two sockets of one host that have the same port on different addresses, or that connect
// to each other, are not a self-connection.
func TestNotASelfConnection(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	defer l.Close()
	other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), l.Addr().Port())
	c, err := sock.ConnectTCP(l.Addr(), sock.LocalAddr(other), sock.ReuseAddr(true))
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skip("skipped: this system has only 127.0.0.1")
	}
	must(t, err)
	defer c.Close()
	must(t, until(t, c, pollux.Writable, c.ConnectError))
	if c.LocalAddr() != other {
		t.Errorf("the stream is at %v, not %v", c.LocalAddr(), other)
	}
}
