package loop_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/layered"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Once its layer has connected, a connection has no memory for it but the layer: that is Stream.Up, where the driver
// and layered.Of find it, and an accepted connection has no extras for it. It stays there after the end.
func TestLayerOfAnOpenConnectionIsAllItHas(t *testing.T) {
	conns, messages := make(chan *loop.Conn, 1), make(chan bool, 1)
	inner := func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { conns <- c },
			data:   func(_ *loop.Conn, b []byte) (int, error) { messages <- true; return len(b), nil },
		}
	}
	kinds := map[string]func(c *loop.Conn) loop.Handler{
		"accepted": func(c *loop.Conn) loop.Handler { return quietly(inner(c)) },
	}
	if !withLayers() {
		kinds["SetHandler"] = func(*loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) { c.SetHandler(quietly(inner(c))) }}
		}
	}
	for name, accept := range kinds {
		t.Run(name, func(t *testing.T) {
			g, peer := serve(t, loop.Config{Loops: 1}, accept)
			io.WriteString(peer, greeting)
			c := receive(t, conns, "Opened")
			io.WriteString(peer, record) // it follows what the layer has done to connect
			receive(t, messages, "Data")
			layer := layered.Of(c)
			up := make(chan driver.StreamUpcalls, 1)
			c.Loop().Run(func() { up <- loop.UpcallsOf(c) })
			if got := receive(t, up, "Run"); layer == nil || got != driver.StreamUpcalls(layer) {
				t.Errorf("Stream.Up is a %T, want the layer, %T", got, layer)
			}
			if loop.HasExtras(c) && name == "accepted" { // SetHandler makes them for its handler
				t.Error("an open connection has extras because of its layer")
			}
			c.Abort()
			if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
				t.Fatal("the connection stays")
			}
			if got := layered.Of(c); got != layer {
				t.Errorf("after the end the layer is a %T, want that from before", got)
			}
		})
	}
}

// L9: what is postponed is dropped if Opened, or a postponed second half, ends the loop's goroutine, so Shutdown does not
// wait for it.
func TestLayerPostponedAndGoexit(t *testing.T) {
	for _, where := range []string{"Opened", "done"} {
		t.Run(where, func(t *testing.T) {
			exits, accepted := make(chan bool, 1), make(chan bool, 1)
			exit := func(at string) {
				if at == where {
					exits <- true
					runtime.Goexit()
				}
			}
			g, peer := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(c *loop.Conn) loop.Handler {
				for range 3 {
					if err := loop.Offload(c, func() (int, error) { return 0, nil }, func(int, error) { exit("done") }); err != nil {
						t.Error(err)
					}
				}
				accepted <- true
				return quietly(&funcs{opened: func(*loop.Conn) { exit("Opened") }})
			})
			receive(t, accepted, "accept")
			if !testkit.Eventually(func() bool { return !g.OffloadBusy() }) {
				t.Fatal("the work does not end")
			}
			barrier(t, g)
			io.WriteString(peer, greeting)
			receive(t, exits, fmt.Sprint(where, " that exits"))
			peer.Close()
			ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
			defer cancel()
			if err := g.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		})
	}
}
