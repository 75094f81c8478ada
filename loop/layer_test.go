package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/layertest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// framed returns a handler above a layer that frames the bytes, and does at random what it may.
func framed(h loop.Handler, seed uint64) *withLayer {
	return &withLayer{Handler: h, options: layertest.Options{Seed: seed, Frames: true, Adverse: true, Async: seed%2 == 0}}
}

// Until the layer of an accepted connection has connected, no callback is called, writes are refused,
// and Detach always is. Opened comes then.
func TestLayerConnectsBeforeOpened(t *testing.T) {
	conns, opened := make(chan *loop.Conn, 1), make(chan bool, 1)
	inner := &funcs{opened: func(c *loop.Conn) { opened <- true }}
	g := group(t, loop.Config{Loops: 1})
	h := framed(inner, 3)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler { conns <- c; return h })
	if err != nil {
		t.Fatal(err)
	}
	peer := dial(t, ln.Addr())
	c := receive(t, conns, "accept")
	barrier(t, g)
	if _, err := c.Write([]byte("x")); !errors.Is(err, loop.ErrNotOpen) {
		t.Errorf("Write returned %v, want ErrNotOpen", err)
	}
	if err := loop.NewFanout(loop.FanoutConfig{}).Add(c); !errors.Is(err, loop.ErrNotOpen) {
		t.Errorf("Add to a Fanout returned %v, want ErrNotOpen", err)
	}
	if err := c.Detach(func(net.Conn, []byte, error) {}); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("Detach returned %v, want ErrUnsupported", err) // Opened would not come
	}
	if got := c.Handler(); got != loop.Handler(inner) {
		t.Errorf("Handler returned %T, want the inner handler", got)
	}
	if err := c.SetHandler(framed(inner, 5)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SetHandler of a second layer returned %v, want ErrUnsupported", err)
	}
	if len(opened) > 0 {
		t.Error("Opened was called before the layer had connected")
	}
	io.WriteString(peer, "layertest\n")
	receive(t, opened, "Opened")
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	b := make([]byte, len("layertest\n")+5+len("hello"))
	if _, err := io.ReadFull(peer, b); err != nil || string(b[len("layertest\n")+5:]) != "hello" {
		t.Errorf("the peer read %q, %v, want a record with hello", b, err)
	}
	other := make(chan string, 1)
	c.SetHandler(&funcs{data: func(_ *loop.Conn, b []byte) (int, error) { other <- string(b); return len(b), nil }})
	io.WriteString(peer, "r\x00\x02\x00\x00ok")
	if s := receiveAll(t, other, 2, "the record, above the layer"); s != "ok" {
		t.Errorf("the new handler got %q, want ok", s)
	}
}

// A layer that fails ends the connection: no callback of an accepted one is called, and Stats counts it;
// Dial returns the error; a handler given to SetHandler gets Closed.
func TestLayerFails(t *testing.T) {
	broken := errors.New("broken")
	fails := func(h loop.Handler) loop.Handler {
		return &withLayer{Handler: h, options: layertest.Options{Fail: broken}}
	}
	strict := func(closed chan error) *funcs {
		return &funcs{
			opened: func(*loop.Conn) { t.Error("Opened was called") },
			closed: func(_ *loop.Conn, why error) {
				if closed == nil {
					t.Error("Closed was called without Opened")
					return
				}
				closed <- why
			},
		}
	}
	t.Run("accepted", func(t *testing.T) {
		g, peer := serve(t, loop.Config{Loops: 1, IdleTimeout: time.Hour}, func(*loop.Conn) loop.Handler { return fails(strict(nil)) })
		peer.SetDeadline(time.Now().Add(testTimeout))
		if _, err := peer.Read(make([]byte, 1)); err == nil {
			t.Error("the connection stays open")
		}
		if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
			t.Error("the connection still counts")
		}
		if n := g.Stats().Loops[0].LayerFailures; n != 1 {
			t.Errorf("LayerFailures is %d, want 1", n)
		}
	})
	t.Run("dialed", func(t *testing.T) {
		g := group(t, loop.Config{Loops: 1})
		ln, err := listenNet(t, "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, err = g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return fails(strict(nil)) })
		if !errors.Is(err, broken) {
			t.Errorf("Dial returned %v, want the layer's error", err)
		}
	})
	t.Run("SetHandler", func(t *testing.T) {
		skipWithLayer(t, "the test sets one itself")
		closed := make(chan error, 1)
		_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
			return &funcs{
				data:   func(c *loop.Conn, b []byte) (int, error) { return len(b), c.SetHandler(fails(strict(closed))) },
				closed: func(*loop.Conn, error) { t.Error("the handler before got Closed") },
			}
		})
		io.WriteString(peer, "STARTTLS")
		if why := receive(t, closed, "Closed"); !errors.Is(why, broken) {
			t.Errorf("Closed got %v, want the layer's error", why)
		}
	})
}

// The end of a dial's context, and Shutdown, cut off a layer that has not connected.
func TestLayerNeverConnects(t *testing.T) { simulated(t, testLayerNeverConnects) }

func testLayerNeverConnects(t *testing.T) {
	silent := func() loop.Handler {
		return &withLayer{Handler: &funcs{closed: func(*loop.Conn, error) { t.Error("Closed was called without Opened") }}, options: layertest.Options{Silent: true}}
	}
	g := group(t, loop.Config{Loops: 1})
	conns := make(chan *loop.Conn, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler { conns <- c; return silent() })
	if err != nil {
		t.Fatal(err)
	}
	for _, byLoop := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		begun, done := make(chan bool, 1), make(chan error, 1)
		accept := func(*loop.Conn) loop.Handler { begun <- true; return silent() }
		if byLoop {
			if err := g.Loops()[0].Dial(ctx, "tcp", ln.Addr().String(), accept, func(_ *loop.Conn, err error) { done <- err }); err != nil {
				t.Fatal(err)
			}
		} else {
			go func() {
				_, err := g.Dial(ctx, "tcp", ln.Addr().String(), accept)
				done <- err
			}()
		}
		receive(t, begun, "accept")
		receive(t, conns, "the other end")
		barrier(t, g)
		if len(done) > 0 {
			t.Error("Dial has ended before the layer")
		}
		cancel()
		if err := receive(t, done, "the end of the dial"); !errors.Is(err, context.Canceled) {
			t.Errorf("by Loop.Dial %v: the error is %v, want that of the context", byLoop, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
}

// SetHandler with a layer on an open connection takes effect when what was written before is sent, without
// the layer; the bytes that are unread are the layer's, and Opened comes when it has connected.
func TestLayerOfAnOpenConnection(t *testing.T) {
	skipWithLayer(t, "the test sets one itself")
	const banner = 8 << 20 // more than the kernel's buffers take
	const command, unread = "STARTTLS\n", greeting + record
	ends, got := make(chan error, 2), make(chan string, 16)
	results := make(chan error, 2)
	_, peer := serve(t, loop.Config{Loops: 1, MaxUnsentBytes: 2 * banner}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			if len(b) < len(command+unread) {
				return 0, nil
			}
			c.Write(make([]byte, banner))
			results <- c.SetHandler(framed(&funcs{
				opened: func(c *loop.Conn) { ends <- nil; c.Write([]byte("inside")) },
				data:   func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil },
				closed: func(_ *loop.Conn, why error) { ends <- fmt.Errorf("Closed(%v) was called instead of Opened", why) },
			}, 9))
			_, err := c.Write([]byte("late"))
			results <- err
			return len(command), nil
		}}
	})
	io.WriteString(peer, command+unread)
	if err := receive(t, results, "SetHandler"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, results, "Write"); !errors.Is(err, loop.ErrNotOpen) {
		t.Errorf("a Write after SetHandler returned %v, want ErrNotOpen", err)
	}
	if len(ends) > 0 {
		t.Error("Opened or Closed was called while bytes were unsent")
	}
	peer.SetDeadline(time.Now().Add(testTimeout))
	readBanner(t, peer, banner)
	b := make([]byte, len(greeting))
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != greeting {
		t.Fatalf("after the bytes written before, the peer read %q, %v, want the greeting", b, err)
	}
	io.WriteString(peer, record) // a layer that lacks the beginning takes it for a greeting, and fails
	if err := receive(t, ends, "Opened"); err != nil {
		t.Fatal(err)
	}
	if s := receiveAll(t, got, 2*len("hello"), "both records"); s != "hellohello" {
		t.Errorf("Data got %q, want that of the record that came before, and of the other one", s)
	}
	if _, err := io.ReadFull(peer, b[:5]); err != nil || b[0] != 'r' { // one record or several: the layer cuts at random
		t.Errorf("after the greeting, the peer read %q, %v, want a record", b[:5], err)
	}
}

// readBanner reads n zeros, and fails at the first other byte: a layer sends some of its own.
func readBanner(t *testing.T, peer io.Reader, n int) {
	t.Helper()
	b := make([]byte, 64<<10)
	for got := 0; got < n; {
		k, err := peer.Read(b[:min(n-got, len(b))])
		if at := slices.IndexFunc(b[:k], func(c byte) bool { return c != 0 }); at >= 0 {
			t.Fatalf("after %d bytes of %d, the peer read %.20q", got+at, n, b[at:k])
		}
		if got += k; err != nil {
			t.Fatalf("the peer read %d bytes of %d, then %v", got, n, err)
		}
	}
}

var _ driver.Layer = layertest.New(driver.Above{}, layertest.Options{})
