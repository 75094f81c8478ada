package loop_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// L4: a producer that writes up to its connection's own high watermark, which is lower than Config's,
// and again at each Drained, never waits forever, and never has more unsent than the watermark and two
// writes.
func TestL4OwnWatermarks(t *testing.T) {
	const high, low, chunk, total = 12_000, 3000, 1000, 2 << 20
	var most, written, drained atomic.Int64
	produce := func(c *loop.Conn) {
		for c.Unsent() <= high && written.Load() < total {
			if _, err := c.Write(make([]byte, min(chunk, total-written.Load()))); err != nil {
				t.Errorf("Write: %v", err)
				return
			}
			written.Add(min(chunk, total-written.Load()))
			most.Store(max(most.Load(), int64(c.Unsent())))
		}
		if written.Load() == total {
			c.Close()
		}
	}
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				if err := c.SetWatermarks(high, low); err != nil {
					t.Errorf("SetWatermarks: %v", err)
				}
				produce(c)
			},
			drained: func(c *loop.Conn) { drained.Add(1); produce(c) },
		}
	})
	got, err := io.Copy(io.Discard, c)
	if err != nil || got != total {
		t.Fatalf("the peer read %d bytes, %v, want %d", got, err, total)
	}
	if n := drained.Load(); n < total/(high+2*chunk) {
		t.Errorf("Drained was called %d times, want at least %d", n, total/(high+2*chunk))
	}
	if most.Load() > high+2*chunk {
		t.Errorf("%d bytes were unsent at most, want %d or fewer", most.Load(), high+2*chunk)
	}
}

// L4: SetWatermarks takes effect immediately, while bytes are unsent: above the new high watermark
// reading stops, and at or below the new low one it resumes and Drained is called.
func TestL4SetWatermarksWhileUnsent(t *testing.T) {
	for _, on := range []string{"the loop", "another goroutine"} {
		t.Run(on, func(t *testing.T) {
			conns, got, drained := make(chan *loop.Conn, 1), make(chan string, 10), make(chan bool, 10)
			_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) {
						c.SetWatermarks(40<<20, 1<<20)
						c.Write(make([]byte, 32<<20))
						conns <- c
					},
					data:    func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil },
					drained: func(*loop.Conn) { drained <- true },
				}
			})
			c := receive(t, conns, "the connection")
			set := func(high, low int) {
				t.Helper()
				err := make(chan error, 1)
				if on == "the loop" {
					c.Loop().Run(func() { err <- c.SetWatermarks(high, low) })
				} else {
					err <- c.SetWatermarks(high, low)
				}
				if err := receive(t, err, "SetWatermarks"); err != nil {
					t.Fatal(err)
				}
				waitTurns(t, c)
			}
			peer.Write([]byte("one"))
			if s := receive(t, got, "bytes below the connection's own high watermark"); s != "one" {
				t.Errorf("Data got %q, want one", s)
			}
			set(0, 0) // Config's
			peer.Write([]byte("two"))
			waitTurns(t, c)
			if len(got) > 0 || len(drained) > 0 {
				t.Fatalf("the connection reads above Config's high watermark, or Drained was called (%d times)", len(drained))
			}
			set(64<<20, 60<<20)
			if s := receive(t, got, "bytes below the new low watermark"); s != "two" {
				t.Errorf("Data got %q, want two", s)
			}
			receive(t, drained, "Drained at the new low watermark")
			if len(drained) > 0 {
				t.Error("Drained was called twice")
			}
		})
	}
}

// L4: a callback that lowers the high watermark below what it has written gets Drained, even if the
// kernel takes everything when it returns.
func TestL4SetWatermarksAfterWriting(t *testing.T) {
	drained := make(chan bool, 1)
	_, peer := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write(make([]byte, 1000))
				c.SetWatermarks(999, 10)
				return len(b), nil
			},
			drained: func(*loop.Conn) { drained <- true },
		}
	})
	peer.Write([]byte("x"))
	receive(t, drained, "Drained")
	if _, err := io.ReadFull(peer, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
}

// Watermarks out of range are ErrBadArgument, and the ones in force stay; the bounds are valid.
func TestSetWatermarksRange(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	config := loop.Config{HighWatermarkBytes: 1000, LowWatermarkBytes: 500, MaxUnsentBytes: 5000}
	_, peer := serve(t, config, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	c := receive(t, conns, "the connection")
	for _, x := range []struct {
		high, low int
		ok        bool
	}{
		{0, 0, true},
		{1, 1, true},
		{1, 0, true}, // the low one is Config's, at most the high one
		{5000, 5000, true},
		{5000, 0, true},
		{0, 1000, true},
		{0, 1001, false},
		{5001, 1, false},
		{100, 101, false},
		{-1, 0, false},
		{100, -1, false},
	} {
		err := c.SetWatermarks(x.high, x.low)
		var op *net.OpError
		if x.ok && err != nil || !x.ok && (!errors.Is(err, loop.ErrBadArgument) || !errors.As(err, &op)) {
			t.Errorf("SetWatermarks(%d, %d): %v; want success: %v, else a *net.OpError with ErrBadArgument", x.high, x.low, err, x.ok)
		}
	}
	ping(t, peer)
	c.Abort()
	if err := c.SetWatermarks(0, 0); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("SetWatermarks after Abort: %v, want ErrClosed", err)
	}
}
