package loop_test

import (
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

func TestL7MaxConnsPauses(t *testing.T) {
	g := group(t, loop.Config{MaxConns: 2, Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := dial(t, ln.Addr()), dial(t, ln.Addr()), dial(t, ln.Addr())
	ping(t, a)
	ping(t, b)
	c.Write([]byte("ping"))
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := c.Read(make([]byte, 4)); err == nil {
		t.Error("a connection above MaxConns was served")
	}
	a.Close()
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Errorf("a connection in the backlog is not served below MaxConns: %v", err)
	}
}

func TestL7MaxConnsRefuses(t *testing.T) {
	g := group(t, loop.Config{MaxConns: 1, RefuseAbove: true, Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	a := dial(t, ln.Addr())
	ping(t, a)
	// The reset may arrive so early that dialing itself fails.
	if b, err := dialNet(t, "tcp", ln.Addr().String()); err == nil {
		defer b.Close()
		b.SetDeadline(time.Now().Add(testTimeout))
		if _, err := io.ReadFull(b, make([]byte, 1)); err == nil {
			t.Error("a connection above MaxConns was served")
		}
	}
	ping(t, a)
}
