package loop_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Being out of file descriptors once must not be taken for a permanent lack of IPv6.
func TestListenAfterEMFILE(t *testing.T) {
	if !testkit.InChild(t) {
		return
	}
	probe, err := sock.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 0), onNet(t)...)
	if err != nil {
		t.Skip(err)
	}
	probe.Close()
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	listen := func() (*loop.Listener, error) {
		return g.Listen("tcp", ":0", func(*loop.Conn) loop.Handler { return echo{} })
	}
	restore := limitDescriptors(t, 0)
	_, err = listen()
	restore()
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Listen without free descriptors: got %v, want EMFILE", err)
	}
	ln, err := listen()
	if err != nil {
		t.Fatalf("Listen once descriptors are free: %v", err)
	}
	if at := ln.Addr().(*net.TCPAddr); at.IP.To4() != nil {
		t.Errorf("Listen has bound %v, which is IPv4 only", at)
	}
}

// With each driver, the listeners of two loops share the descriptors that become free.
func TestL5DescriptorsInTurn(t *testing.T) {
	if !testkit.InChild(t) {
		return
	}
	const clients = 30
	g := group(t, loop.Config{Loops: 2, Logger: quiet(), SlowCallback: -1})
	type served struct {
		by int
		c  *loop.Conn
	}
	opened := make(chan served, 2*clients)
	var listeners []*sock.TCPListener
	for range 2 {
		l, err := sock.ListenTCP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		for range clients {
			dial(t, net.TCPAddrFromAddrPort(l.Addr()))
		}
	}
	defer limitDescriptors(t, 1)()
	for i, l := range listeners {
		err := loop.ServeAcceptorOn(g.Loops()[i], l, func(*loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) { opened <- served{i, c} }}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	left := [2]int{clients, clients}
	for range clients { // half of them
		s := receive(t, opened, "a connection")
		left[s.by]--
		for range 4 {
			for _, l := range g.Loops() {
				waitTurn(t, l)
			}
		}
		s.c.Abort()
	}
	if min(left[0], left[1]) < clients/4 {
		t.Errorf("of %d clients of each listener, %d and %d still wait, want at least a quarter of each", clients, left[0], left[1])
	}
}
