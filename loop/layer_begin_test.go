package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver/layertest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

const (
	greeting  = "layertest\n" // of a layer with Frames
	record    = "r\x00\x05\x00\x00hello"
	endRecord = "r\x00\x00\x00\x00"
)

// quietly is framed without randomness: one record for each write.
func quietly(h loop.Handler) *withLayer {
	return &withLayer{Handler: h, options: layertest.Options{Frames: true}}
}

// Once accept has returned a handler with a layer, no goroutine can write without the layer, also not
// before the layer begins.
func TestLayerWritesAreRefusedOnceAcceptHasReturned(t *testing.T) {
	writes := map[string]func(c *loop.Conn) (int, error){
		"Write":       func(c *loop.Conn) (int, error) { return c.Write([]byte("leak")) },
		"Writev":      func(c *loop.Conn) (int, error) { return c.Writev([][]byte{[]byte("leak")}) },
		"WriteOwned":  func(c *loop.Conn) (int, error) { return c.WriteOwned([]byte("leak"), nil) },
		"WriteShared": func(c *loop.Conn) (int, error) { return c.WriteShared(loop.NewShared([]byte("leak"))) },
		"TryWrite":    func(c *loop.Conn) (int, error) { return c.TryWrite([]byte("leak")) },
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			result := make(chan error, 1)
			_, peer := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
				h := quietly(&funcs{})
				h.asked = func() { // accept has returned, and the layer has not begun
					h.asked = nil
					written := make(chan error)
					go func() {
						_, err := write(c)
						written <- err
					}()
					result <- <-written
				}
				return h
			})
			if err := receive(t, result, "the write"); !errors.Is(err, loop.ErrNotOpen) {
				t.Errorf("the error is %v, want ErrNotOpen", err)
			}
			b := make([]byte, len(greeting))
			if _, err := io.ReadFull(peer, b); err != nil || string(b) != greeting {
				t.Errorf("the peer read %q, %v, want only what the layer sends", b, err)
			}
		})
	}
}

// What accept writes is sent without the layer, and before it; CloseWrite of accept ends the stream above
// the layer, once that has connected.
func TestLayerFollowsWhatAcceptWrites(t *testing.T) {
	_, peer := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
		c.Write([]byte("header\n"))
		c.CloseWrite()
		return quietly(&funcs{})
	})
	const begin = "header\n" + greeting
	b := make([]byte, len(begin))
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != begin {
		t.Fatalf("the peer read %q, %v, want %q", b, err, begin)
	}
	io.WriteString(peer, greeting)
	if rest, err := io.ReadAll(peer); err != nil || string(rest) != endRecord {
		t.Errorf("then the peer read %q, %v, want a record of the end, and the end", rest, err)
	}
}

// SetHandler with a layer, and then CloseWrite, in one callback that writes, too: the bytes are sent without the layer,
// and the end is that of the stream above.
func TestLayerEndsWhatItBegan(t *testing.T) {
	skipWithLayer(t, "the test sets one itself")
	_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Write([]byte("go ahead\n"))
			c.SetHandler(quietly(&funcs{}))
			return len(b), c.CloseWrite()
		}}
	})
	io.WriteString(peer, "STARTTLS")
	const begin = "go ahead\n" + greeting
	b := make([]byte, len(begin))
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != begin {
		t.Fatalf("the peer read %q, %v, want %q", b, err, begin)
	}
	io.WriteString(peer, greeting)
	if rest, err := io.ReadAll(peer); err != nil || string(rest) != endRecord {
		t.Errorf("then the peer read %q, %v, want a record of the end, and the end", rest, err)
	}
}

// A connection that has failed in accept, which returns a handler with a layer, ends without callbacks, and
// counts as a failure of a layer.
func TestLayerOfAConnectionThatFailsInAccept(t *testing.T) {
	skipOnSimulation(t, "a reset takes time")
	peers := make(chan tcpConn, 1)
	h := &funcs{
		opened: func(*loop.Conn) { t.Error("Opened was called") },
		closed: func(*loop.Conn, error) { t.Error("Closed was called without Opened") },
	}
	g, peer := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
		p := <-peers
		p.SetLinger(0)
		p.Close()
		c.Write(make([]byte, 64<<10)) // passed to the kernel at once
		return quietly(h)
	})
	peers <- peer
	if !testkit.Eventually(func() bool { return g.Stats().Loops[0].LayerFailures == 1 && g.Conns() == 0 }) {
		t.Errorf("%d failures of layers, %d connections; want 1 and 0", g.Stats().Loops[0].LayerFailures, g.Conns())
	}
}

// L9: the second half of an Offload whose work has ended before the layer has connected is called after Opened.
// If the layer fails, it is dropped.
func TestLayerPostponesOffload(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint("fails ", fails), func(t *testing.T) {
			order := make(chan string, 8)
			h := quietly(&funcs{opened: func(*loop.Conn) { order <- "opened" }})
			accepted := make(chan bool, 1)
			g, peer := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
				for i := range 3 {
					err := loop.Offload(c, func() (int, error) { return i, nil }, func(int, error) { order <- "done" })
					if err != nil {
						t.Error(err)
					}
				}
				accepted <- true
				return h
			})
			receive(t, accepted, "accept")
			if !testkit.Eventually(func() bool { return !g.OffloadBusy() }) {
				t.Fatal("the work does not end")
			}
			barrier(t, g)
			if len(order) > 0 {
				t.Fatalf("%s was called before the layer has connected", <-order)
			}
			if fails {
				io.WriteString(peer, "no greeting")
				peer.Read(make([]byte, 64))
				if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
					t.Fatal("the connection stays")
				}
				barrier(t, g)
				if len(order) > 0 {
					t.Errorf("%s was called, and the layer has failed", <-order)
				}
			} else {
				io.WriteString(peer, greeting)
				if got := receive(t, order, "Opened"); got != "opened" {
					t.Fatalf("%s was called, want opened", got)
				}
				barrier(t, g) // what was postponed is called in the same upcall
				if len(order) != 3 {
					t.Fatalf("%d second halves were called after Opened, want 3", len(order))
				}
				for range 3 {
					if got := <-order; got != "done" {
						t.Fatalf("%s was called, want done", got)
					}
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
			defer cancel()
			peer.Close()
			if err := g.Shutdown(ctx); err != nil { // it waits for what Offload has reserved
				t.Error(err)
			}
		})
	}
}

// A peer that has closed its side before the layer starts cannot take part in a handshake: Closed gets an error
// that is not io.EOF, as the end of the outer stream is not that of the inner one.
func TestLayerOfAHalfClosedConnection(t *testing.T) {
	skipWithLayer(t, "the test sets one itself")
	const banner = 8 << 20 // more than the kernel's buffers take
	closed, requested := make(chan error, 1), make(chan *loop.Conn, 1)
	inner := &funcs{
		opened: func(*loop.Conn) { t.Error("Opened was called") },
		closed: func(_ *loop.Conn, why error) { closed <- why },
	}
	_, peer := serve(t, loop.Config{Loops: 1, MaxUnsentBytes: 2 * banner}, func(c *loop.Conn) loop.Handler {
		c.SetBackpressure(false) // the end is received while bytes are unsent
		return &funcs{readClosed: func(c *loop.Conn) {
			c.Write(make([]byte, banner))
			c.SetHandler(quietly(inner))
			requested <- c
		}}
	})
	peer.CloseWrite()
	receive(t, requested, "ReadClosed")
	peer.SetDeadline(time.Now().Add(testTimeout))
	readBanner(t, peer, banner)
	b := make([]byte, len(greeting))
	if n, err := peer.Read(b); err == nil {
		t.Fatalf("the layer has started: it sent %q", b[:n])
	}
	if why := receive(t, closed, "Closed"); why == nil || errors.Is(why, io.EOF) {
		t.Errorf("Closed got %v, want an error other than io.EOF", why)
	}
}

// L10: the unread bytes given to Attach are the beginning of what the layer receives.
func TestLayerGetsWhatAttachWasGiven(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	skipUnlessAttaches(t, g)
	const stream, cutOff = greeting + record + endRecord, "the end of the connection"
	for cut := range len(stream) + 1 {
		own, peer := netPair(t, "tcp")
		got, ended := make(chan string, 8), make(chan bool, 1)
		err := g.Attach(own, []byte(stream[:cut]), func(*loop.Conn) loop.Handler {
			return quietly(&funcs{
				data: func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil },
				readClosed: func(c *loop.Conn) {
					ended <- true
					c.Close()
				},
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(peer, stream[cut:])
		go func() { // a layer that lacks the beginning fails, and no callback reports it
			io.Copy(io.Discard, peer)
			got <- cutOff
		}()
		if s := receiveAll(t, got, len("hello"), "the record"); s != "hello" {
			t.Fatalf("with %d bytes unread Data got %q, want hello", cut, s)
		}
		receive(t, ended, "the end")
		peer.Close()
	}
}
