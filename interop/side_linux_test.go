package interop

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/pollux-io/pollux/internal/grouptest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// A side is where connections come from: package net, or a group on one of the backends. Libraries get nothing else of it.
type side struct {
	dialer
	group *loop.Group // nil: package net
}

// onSides runs f with package net, and with a group of two loops on each driver that this machine has. Goroutines and
// descriptors that f leaves behind fail the test.
func onSides(t *testing.T, f func(t *testing.T, s side)) {
	t.Helper()
	t.Run("net", func(t *testing.T) {
		testkit.CheckLeaks(t)
		f(t, side{dialer: new(net.Dialer)})
	})
	for _, b := range loop.Backends() {
		if b.Name == "poll" {
			continue // its driver is that of epoll, and the tests of netconn run on it
		}
		t.Run(b.Name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			testkit.SkipBackend(t, b.Name, b.Usable, b.Why)
			g := grouptest.New(t, loop.Config{Loops: 2, Backend: b.Name})
			f(t, side{dialer: &netconn.Dialer{Group: g}, group: g})
		})
	}
}

// listen listens at a free address of network "tcp" or "unix". The listener is closed after the test.
func (s side) listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listen := net.Listen
	if s.group != nil {
		listen = func(network, address string) (net.Listener, error) { return netconn.Listen(s.group, network, address) }
	}
	ln, err := listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// isConn reports whether c is what s makes, so that a test does not pass by the dialer of a library.
func (s side) isConn(c net.Conn) bool {
	_, ok := c.(*netconn.Conn)
	return ok == (s.group != nil)
}
