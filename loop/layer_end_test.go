package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/pollux-io/pollux/internal/driver/layertest"
	"github.com/pollux-io/pollux/internal/peers"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// layerStages are how far a connection and its layer have come when the connection is ended.
var layerStages = []struct {
	name string
	// begin returns accept's handler, which sends the connection to ready when the stage is reached.
	begin  func(inner *funcs, ready chan *loop.Conn) func(c *loop.Conn) loop.Handler
	closes bool // inner is the connection's handler by then, and gets Closed
	fails  bool // the end counts as a failure of a layer
}{
	{"accepted, not connected", func(inner *funcs, ready chan *loop.Conn) func(c *loop.Conn) loop.Handler {
		return func(c *loop.Conn) loop.Handler {
			ready <- c
			return &withLayer{Handler: inner, options: layertest.Options{Silent: true}}
		}
	}, false, true},
	{"SetHandler, bytes unsent", setLayer(make([]byte, 8<<20)), true, true},
	{"SetHandler, not connected", setLayer(nil), true, true},
	{"connected", func(inner *funcs, ready chan *loop.Conn) func(c *loop.Conn) loop.Handler {
		inner.opened = func(c *loop.Conn) { ready <- c }
		return func(c *loop.Conn) loop.Handler { return &withLayer{Handler: inner} }
	}, true, false},
}

// setLayer writes banner, and then sets a handler whose layer does not connect.
func setLayer(banner []byte) func(inner *funcs, ready chan *loop.Conn) func(c *loop.Conn) loop.Handler {
	return func(inner *funcs, ready chan *loop.Conn) func(c *loop.Conn) loop.Handler {
		return func(c *loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) {
				c.Write(banner)
				c.SetHandler(&withLayer{Handler: inner, options: layertest.Options{Silent: true}})
				ready <- c
			}}
		}
	}
}

// Abort, Close and Shutdown end a connection whatever its layer has come to: the handler that is above the
// layer gets Closed once, with the reason; one whose Opened was not called, and that accept has returned, gets nothing;
// and nothing is left behind.
func TestLayerEndsAtEachStage(t *testing.T) {
	skipWithLayer(t, "the test sets one itself")
	ends := []struct {
		name string
		do   func(g *loop.Group, c *loop.Conn)
		why  error
	}{
		{"Abort", func(_ *loop.Group, c *loop.Conn) { c.Abort() }, loop.ErrAborted},
		{"Close", func(_ *loop.Group, c *loop.Conn) { c.Close() }, nil},
		{"Shutdown", func(g *loop.Group, _ *loop.Conn) { g.Shutdown(canceledContext()) }, loop.ErrShutdown},
	}
	for _, stage := range layerStages {
		for _, end := range ends {
			t.Run(stage.name+", "+end.name, func(t *testing.T) {
				closed, ready := make(chan error, 4), make(chan *loop.Conn, 1)
				inner := &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
				g, peer := serve(t, loop.Config{Loops: 1, MaxUnsentBytes: 16 << 20, Logger: quiet()}, stage.begin(inner, ready))
				c := receive(t, ready, "the stage")
				barrier(t, g) // the layer has begun
				end.do(g, c)
				go io.Copy(io.Discard, peer) // so that Close can send what is unsent
				peer.CloseWrite()            // so that it need not linger
				if stage.closes {
					if why := receive(t, closed, "Closed"); !errors.Is(why, end.why) {
						t.Errorf("Closed got %v, want %v", why, end.why)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
				defer cancel()
				if err := g.Shutdown(ctx); err != nil && end.name != "Shutdown" { // which has returned this error before
					t.Errorf("Shutdown returned %v", err)
				}
				if len(closed) > 0 {
					t.Errorf("Closed was called too often, with %v", <-closed)
				}
				n, most := g.Stats().Loops[0].LayerFailures, uint64(0)
				if stage.fails {
					most = 1
				}
				if n > most || n < most && end.name != "Close" { // Close of a connection with unsent bytes sends them, and FIN
					t.Errorf("LayerFailures is %d, want %d", n, most)
				}
			})
		}
	}
}

// Closed can ask for the peer's address, although both sides have closed the connection by then, and the loop has accepted
// so many others that it does not remember the address: the layer ends its stream before the connection is released.
func TestLayerLeavesTheRemoteAddress(t *testing.T) {
	const seeds, later = 16, 2 * peers.Max
	opened, address := make(chan bool, 1), make(chan string, 1)
	seed := uint64(0)
	g, first := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		h := &funcs{
			opened: func(*loop.Conn) { opened <- true },
			closed: func(c *loop.Conn, _ error) { address <- fmt.Sprint(c.RemoteAddr()) },
		}
		seed++
		return &withLayer{Handler: h, options: layertest.Options{Seed: seed, Adverse: true}}
	})
	all := []tcpConn{first}
	for receive(t, opened, "Opened"); len(all) < seeds; receive(t, opened, "Opened") {
		all = append(all, dial(t, first.RemoteAddr()))
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return &funcs{} })
	if err != nil {
		t.Fatal(err)
	}
	for range later {
		dial(t, ln.Addr()).Close()
	}
	accepts := func() uint64 { return g.Stats().Loops[0].Accepts }
	if !testkit.Eventually(func() bool { return accepts() == seeds+later }) {
		t.Fatalf("%d connections were accepted, want %d", accepts(), seeds+later)
	}
	for i, peer := range all {
		want := peer.LocalAddr().String()
		peer.Close()
		if got := receive(t, address, "Closed"); got != want {
			t.Errorf("seed %d: RemoteAddr is %s in Closed, want %s", i+1, got, want)
		}
	}
}
