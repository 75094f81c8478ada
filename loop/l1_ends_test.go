package loop_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// A function that calls Goexit on the loop's goroutine while its connection ends prevents neither
// the remaining callbacks of the connection nor the end of the loop.
func TestL1GoexitWhileAConnectionEnds(t *testing.T) {
	for _, where := range []string{"done", "Detach's function", "Dial's function"} {
		t.Run(where, func(t *testing.T) {
			if where == "Detach's function" {
				skipWithLayer(t, needsDetach)
			}
			g := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: failOnLog(t, "a loop has failed")})
			ln, err := listenNet(t, "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			calls, closed := make(chan error, 3), make(chan error, 1)
			exitAt := func(here string, err error) {
				calls <- err
				if here == where {
					runtime.Goexit()
				}
			}
			h := &funcs{
				opened: func(c *loop.Conn) {
					// More than the kernel's buffers take.
					c.WriteOwned(make([]byte, 16<<20), func(err error) { exitAt("done", err) })
					c.WriteOwned(nil, func(err error) { exitAt("done", err) })
					if where == "Detach's function" {
						c.Detach(func(_ net.Conn, _ []byte, err error) { exitAt(where, err) })
					}
					c.Abort()
				},
				closed: func(_ *loop.Conn, why error) { closed <- why },
			}
			want := 3
			if where == "done" {
				want = 2
			}
			err = g.Loops()[0].Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return h }, func(_ *loop.Conn, err error) {
				if where == "Dial's function" {
					exitAt(where, err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for range want {
				if err := receive(t, calls, "a pending function"); err == nil {
					t.Error("a pending function was called with a nil error")
				}
			}
			if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrAborted) {
				t.Errorf("Closed got %v, want ErrAborted", why)
			}
			ended := make(chan error, 1)
			go func() { ended <- g.Shutdown(context.Background()) }()
			if err := receive(t, ended, "Shutdown"); err != nil {
				t.Error(err)
			}
			if n, s := g.Conns(), g.Stats(); n != 0 || s.Loops[0].Failed == nil {
				t.Errorf("%d connections are left and Stats.Failed is %v, want 0 and an error", n, s.Loops[0].Failed)
			}
		})
	}
}
