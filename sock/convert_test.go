package sock_test

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// FromConn returns a duplicate of a TCP or Unix stream, and ErrBadArgument for other sockets.
func TestFromConn(t *testing.T) {
	networks := []string{"tcp", "unix"}
	if sys.OnWine() {
		networks = networks[:1]
		t.Log("only TCP is checked: Wine has no Unix sockets, and package net cannot listen for datagrams there")
	}
	for _, network := range networks {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = t.TempDir() + "/s"
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peer, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		s, err := sock.FromConn(c.(syscall.Conn))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		b := make([]byte, 2)
		if n, err := peer.Read(b); string(b[:n]) != "x" || err != nil {
			t.Errorf("%s: the peer read %q, %v, want x", network, b[:n], err)
		}
		if a := s.RemoteNetAddr(); a == nil || a.Network() != network || a.String() != c.RemoteAddr().String() {
			t.Errorf("%s: the duplicate's peer is %v, want %v", network, a, c.RemoteAddr())
		}
		if _, err := sock.FromConn(ln.(syscall.Conn)); !errors.Is(err, sock.ErrBadArgument) || !strings.Contains(err.Error(), "listening") {
			t.Errorf("%s: FromConn of a listener: got %v, want ErrBadArgument", network, err)
		}
	}
	if sys.OnWine() {
		return
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := sock.FromConn(u.(syscall.Conn)); !errors.Is(err, sock.ErrBadArgument) || !strings.Contains(err.Error(), "SOCK_DGRAM") {
		t.Errorf("FromConn of a UDP socket: got %v, want ErrBadArgument", err)
	}
	if _, err := sock.FromConn(nil); !errors.Is(err, sock.ErrBadArgument) {
		t.Errorf("FromConn of nil: got %v, want ErrBadArgument", err)
	}
}
