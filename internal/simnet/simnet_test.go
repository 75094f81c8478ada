package simnet_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/sock"
)

// host is a sock.Network.
type host struct {
	handle.Hosted
	*simnet.Host
}

func newHost(n *simnet.Network) *host {
	h := &host{Host: n.Host()}
	handle.SetKernel(&h.Hosted, h.Host)
	return h
}

func TestBasic(t *testing.T) {
	n := simnet.New(simnet.Config{})
	a, b := newHost(n), newHost(n)
	l, err := sock.ListenTCP(netip.AddrPortFrom(a.Addr(), 80), sock.OnNetwork(a))
	if err != nil {
		t.Fatal(err)
	}
	c, err := sock.ConnectTCP(l.Addr(), sock.OnNetwork(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ConnectError(); err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Write([]byte("hello")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 10)
	if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
		t.Fatal(n, err)
	}
	if _, err := s.Read(buf); !errors.Is(err, sock.ErrWouldBlock) {
		t.Fatal(err)
	}
	c.Close()
	if _, err := s.Read(buf); err == nil || err.Error() != "EOF" {
		t.Fatal(err)
	}
	s.Close()
	l.Close()
	if a.Descriptors()+b.Descriptors() != 0 {
		t.Fatal("open")
	}
}

func TestConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		n := simnet.New(simnet.Config{})
		h := n.Host()
		l, err := h.Listen(network, map[string]string{"tcp": "127.0.0.1:0", "unix": "/x"}[network])
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			b := make([]byte, 1000)
			for {
				n, err := c.Read(b)
				if err != nil {
					break
				}
				c.Write(b[:n])
			}
			c.Close()
		}()
		c, err := h.Dial(t.Context(), network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 5)
			if n, err := c.Read(b); n != 5 || err != nil {
				t.Fatal(n, err)
			}
		}
		c.CloseWrite()
		if n, err := c.Read(make([]byte, 1)); err == nil || err.Error() != "EOF" {
			t.Fatal(n, err)
		}
		c.Close()
		l.Close()
	}
}
