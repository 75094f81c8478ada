package loop_test

import (
	"io"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// L5: a connection that always has more does not starve the others.
func TestL5Fairness(t *testing.T) {
	g, busy := serve(t, loop.Config{Loops: 1, ReadBudget: 64 << 10}, func(*loop.Conn) loop.Handler { return &funcs{data: spend} })
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

// spend takes a while over what it gets, so that the sender is never behind.
func spend(_ *loop.Conn, b []byte) (int, error) {
	x := 0
	for i := range b {
		x += int(b[i]) * i
	}
	runtime.KeepAlive(x)
	return len(b), nil
}
