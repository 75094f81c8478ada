package loop_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pollux-io/pollux/internal/layered"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// With layers that change the bytes on both sides, what is written arrives, in order, both ways, and
// then the end; back-pressure, half-close and the callbacks are as without.
func TestLayerPassesEverythingOn(t *testing.T) {
	skipOnSimulation(t, "a layer's goroutine has no place in the order of the network's seed")
	const total = 3 << 20
	want := testkit.Text(total)[:total]
	for seed := range uint64(8) {
		got := make(chan error, 16)
		g := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: failOnLog(t)})
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return framed(bothWays(t, want, got), 2*seed) })
		if err != nil {
			t.Fatal(err)
		}
		c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return framed(bothWays(t, want, got), 2*seed+1) })
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := receive(t, got, "the end of the stream"); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if s := g.Stats().Loops[0]; s.BytesIn != 2*total || s.BytesOut != 2*total {
			t.Errorf("Stats: %d bytes in, %d out, want %d: those above the layers", s.BytesIn, s.BytesOut, 2*total)
		}
		c.Abort()
		g.Shutdown(canceledContext())
	}
}

// bothWays returns a handler that sends want and ends its side, and expects the same from the peer. It
// sends nil to got at the peer's end, or an error.
func bothWays(t *testing.T, want []byte, got chan<- error) *funcs {
	n := 0
	drained := make(chan bool, 1)
	return &funcs{
		opened: func(c *loop.Conn) {
			if h := c.Handler(); h == nil || layered.Of(c) == nil {
				t.Error("in Opened the connection has no handler or no layer")
			}
			go func() {
				if err := sendAll(c, want, drained); err != nil {
					got <- err
				}
			}()
		},
		drained: func(*loop.Conn) {
			select {
			case drained <- true:
			default:
			}
		},
		data: func(_ *loop.Conn, b []byte) (int, error) {
			if len(b) > len(want)-n || string(b) != string(want[n:n+len(b)]) {
				err := fmt.Errorf("after %d bytes come %d others", n, len(b))
				got <- err
				return 0, err
			}
			n += len(b)
			return len(b), nil
		},
		readClosed: func(*loop.Conn) {
			if n != len(want) {
				got <- errors.New("too few bytes")
				return
			}
			got <- nil
		},
		closed: func(_ *loop.Conn, why error) {
			if n != len(want) {
				got <- why
			}
		},
	}
}

// sendAll writes b, and ends the side. After ErrBufferFull it waits for drained, which Drained of the handler fills.
func sendAll(c *loop.Conn, b []byte, drained <-chan bool) error {
	for len(b) > 0 {
		n, err := c.TryWrite(b)
		b = b[n:]
		switch {
		case err == nil:
		case !errors.Is(err, loop.ErrBufferFull):
			return err
		default:
			select {
			case <-drained:
			case <-c.Context().Done():
				return context.Cause(c.Context())
			}
		}
	}
	return c.CloseWrite()
}
