package simnet

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bubble runs a test on a network whose clock is that of a bubble.
func bubble(t *testing.T, c Config, f func(t *testing.T, n *Network)) {
	t.Helper()
	testkit.CheckLeaks(t)
	synctest.Test(t, func(t *testing.T) {
		n := New(c)
		defer func() {
			if t.Failed() {
				t.Logf("seed %d\n%s", c.Seed, n.Trace())
			}
		}()
		f(t, n)
	})
}

// connect returns the ends of a connection from a host to another.
func connect(t *testing.T, from, to *Host) (client, server *Conn) {
	t.Helper()
	l, err := to.Listen("tcp", to.Addr().String()+":0")
	must(t, err)
	defer l.Close()
	client, err = from.Dial(context.Background(), "tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { client.Close() })
	s, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return client, s.(*Conn)
}

func listenPacket(t *testing.T, h *Host) *PacketConn {
	t.Helper()
	c, err := h.ListenPacket("udp", h.Addr().String()+":0")
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t *testing.T, c interface{ Write([]byte) (int, error) }, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

// read returns what one read returns.
func read(t *testing.T, c interface{ Read([]byte) (int, error) }) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return string(b[:n])
}

// slack is how long after the network the goroutines of a test may run: each call of theirs takes
// nanoseconds of the clock.
const slack = time.Microsecond

// took fails the test unless so much time has passed since start.
func took(t *testing.T, what string, start time.Time, want time.Duration) {
	t.Helper()
	if d := time.Since(start); d < want || d > want+slack {
		t.Errorf("%s took %v, want %v", what, d, want)
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
