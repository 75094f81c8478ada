//go:build linux

package loop_test

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// L3b: a handler that resumes after sending has failed gets what was received, even if LingerTimeout
// passes before the delivery.
func TestL3bResumeComesBeforeLingerTimeout(t *testing.T) {
	simulated(t, testResumeComesBeforeLingerTimeout)
}

func testResumeComesBeforeLingerTimeout(t *testing.T) {
	const linger = time.Millisecond
	log, conns, closed := make(chan string, 10), make(chan *loop.Conn, 1), make(chan error, 1)
	g := group(t, loop.Config{Loops: 1, LingerTimeout: linger, SlowCallback: -1})
	ln, err := g.Listen("unix", filepath.Join(t.TempDir(), "s"), func(*loop.Conn) loop.Handler {
		calls := 0
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				if calls++; calls == 1 {
					c.Pause()
					conns <- c
					return 0, nil
				}
				log <- string(b)
				return len(b), nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := dialNet(t, "unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	io.WriteString(peer, "hello")
	c := receive(t, conns, "Data")
	peer.(streamConn).CloseRead() // only sending fails: the end of receiving does not come
	c.Write([]byte("nobody reads this"))
	<-c.Context().Done() // the loop knows
	for range 10 {
		waitTurns(t, c)
	}
	c.Loop().Run(func() {
		c.Resume()
		// It runs between Resume and the delivery: then the timer is due.
		c.Loop().Run(func() { time.Sleep(10 * linger) })
	})
	receive(t, closed, "Closed")
	select {
	case got := <-log:
		if got != "hello" {
			t.Errorf("Data got %q, want hello", got)
		}
	default:
		t.Error("Closed was called before what Data had left was delivered")
	}
}
