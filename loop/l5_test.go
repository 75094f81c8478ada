package loop_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// L5: a connection that always has more to read does not starve the others.
func TestL5Fairness(t *testing.T) {
	g, busy := serve(t, loop.Config{Loops: 1, TurnBudgetBytes: 64 << 10}, func(*loop.Conn) loop.Handler { return &funcs{data: spend} })
	go func() {
		b := make([]byte, 1<<20)
		for {
			if _, err := busy.Write(b); err != nil {
				return
			}
		}
	}()
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	b := make([]byte, 1)
	for range 200 {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	busy.Close()
}

// spend uses processor time for each byte, so that the sender always keeps up.
func spend(_ *loop.Conn, b []byte) (int, error) {
	x := 0
	for i := range b {
		x += int(b[i]) * i
	}
	runtime.KeepAlive(x)
	return len(b), nil
}

// Many streams send continuously to handlers that pause and leave bytes, with odd budgets: every
// byte is delivered. On io_uring there are fewer buffers than streams.
func TestL5ManyBusy(t *testing.T) {
	const conns = 100
	for budget, size := range map[int]int{1: 200, 5000: 100_000, 256 << 10: 300_000, math.MaxInt: 300_000} {
		ended := make(chan error, conns)
		g := group(t, loop.Config{Loops: 1, TurnBudgetBytes: budget, Logger: quiet()})
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
			got := 0
			return &funcs{
				data: func(c *loop.Conn, b []byte) (int, error) {
					n := len(b)
					if rand.IntN(4) == 0 {
						n = rand.IntN(n + 1)
						c.Pause()
						c.Loop().AfterFunc(time.Duration(rand.IntN(3))*time.Millisecond, func() { c.Resume() })
					}
					got += n
					return n, nil
				},
				readClosed: func(c *loop.Conn) { c.Close() },
				closed: func(_ *loop.Conn, why error) {
					if why == nil && got != size {
						why = fmt.Errorf("Data consumed %d bytes, want %d", got, size)
					}
					ended <- why
				},
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for range conns {
			c := dial(t, ln.Addr())
			go func() {
				c.Write(make([]byte, size))
				c.CloseWrite()
				io.Copy(io.Discard, c)
			}()
		}
		for range conns {
			if err := receive(t, ended, "Closed"); err != nil {
				t.Errorf("budget %d: %v", budget, err)
			}
		}
	}
}
