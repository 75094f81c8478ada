package loop_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L8: every Wait returns when Shutdown does, with its error, and not before.
func TestL8Wait(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, cutOff := range []bool{false, true} {
		g, err := newGroup(t, loop.Config{Loops: 2, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, ln.Addr())
		ping(t, c)
		const waiters = 3
		ended := make(chan error, waiters)
		for range waiters {
			go func() { ended <- g.Wait() }()
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		shutdown := make(chan error, 1)
		go func() { shutdown <- g.Shutdown(ctx) }()
		for n := 1; n > 0; n = g.Listeners() { // Shutdown has begun; the connection is still open
			if len(ended) > 0 {
				t.Fatalf("Wait returned %v while a connection was open", receive(t, ended, "Wait"))
			}
		}
		cause := errors.New("it is late")
		if cutOff {
			cancel(cause)
		} else {
			c.Close()
		}
		want := receive(t, shutdown, "Shutdown")
		cancel(nil)
		if (want != nil) != cutOff {
			t.Fatalf("Shutdown: %v", want)
		}
		for range waiters {
			if err := receive(t, ended, "Wait"); err != want {
				t.Errorf("Wait: got %v, want the error of Shutdown: %v", err, want)
			}
		}
		if err := g.Wait(); err != want {
			t.Errorf("Wait afterwards: got %v, want %v", err, want)
		}
	}
}

// L8: Shutdown that cannot wait for a callback has finished; Wait returns then, too.
func TestL8WaitWithBlockedCallback(t *testing.T) {
	g, err := newGroup(t, loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	until := make(chan bool)
	g.Loops()[0].Run(func() { <-until })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	go g.Shutdown(ctx)
	var left *loop.ShutdownError
	if err := g.Wait(); !errors.As(err, &left) || left.Loops != 1 {
		t.Errorf("Wait: got %v, want a ShutdownError with 1 loop", err)
	}
	close(until)
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// In a callback Wait would wait for itself.
func TestWaitOnLoop(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	got := make(chan error)
	for _, l := range g.Loops() {
		l.Run(func() { got <- g.Wait() })
		if err := receive(t, got, "Wait"); !errors.Is(err, loop.ErrOnLoop) {
			t.Errorf("Wait on a loop: got %v, want ErrOnLoop", err)
		}
	}
}

// Wait returns when all loops have failed, and not when the first one has.
func TestWaitForFailure(t *testing.T) {
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	failure := errors.New("the driver has failed")
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	drivers()[0].Fail(failure)
	if !testkit.Eventually(func() bool {
		return errors.Is(g.Loops()[0].Run(func() {}), failure)
	}) {
		t.Fatal("the loop has not ended")
	}
	working := make(chan bool)
	g.Loops()[1].Run(func() { close(working) })
	receive(t, working, "the other loop")
	select {
	case err := <-ended:
		t.Fatalf("Wait returned %v while one loop was working", err)
	default:
	}
	drivers()[1].Fail(failure)
	if err := receive(t, ended, "Wait"); !errors.Is(err, failure) {
		t.Errorf("Wait: got %v, want the failure", err)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := g.Wait(); !errors.Is(err, failure) {
		t.Errorf("Wait after Shutdown: got %v, want the failure", err)
	}
}

// Loops have their index, and know their group.
func TestLoopIndex(t *testing.T) {
	g := group(t, loop.Config{Loops: 3})
	for i, l := range g.Loops() {
		if l.Index() != i || l.Group() != g {
			t.Errorf("loop %d: Index = %d, Group = %p, want %d, %p", i, l.Index(), l.Group(), i, g)
		}
	}
}

// Handler returns the handler set last, from accept's return on.
func TestHandler(t *testing.T) {
	first, second := &funcs{}, &funcs{}
	conns, inAccept := make(chan *loop.Conn, 1), make(chan loop.Handler, 1)
	g, peer := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
		inAccept <- c.Handler()
		first.opened = func(c *loop.Conn) { conns <- c }
		return first
	})
	if h := receive(t, inAccept, "accept"); h != nil {
		t.Errorf("in accept Handler = %p, want nil", h)
	}
	c := receive(t, conns, "Opened")
	if h := c.Handler(); h != first {
		t.Errorf("Handler = %p, want what accept has returned", h)
	}
	until := make(chan bool)
	g.Loops()[0].Run(func() { <-until }) // SetHandler cannot take effect
	c.SetHandler(second)
	if h := c.Handler(); h != second {
		t.Errorf("after SetHandler, before it takes effect, Handler = %p, want the second", h)
	}
	close(until)
	closed := make(chan bool)
	third := &funcs{closed: func(*loop.Conn, error) { close(closed) }}
	for i := range 3_000 {
		h := []*funcs{second, third}[i%2]
		c.SetHandler(h)
		var took atomic.Bool
		g.Loops()[0].Run(func() { took.Store(true) })
		for !took.Load() { // while it takes effect
			if got := c.Handler(); got != h {
				t.Fatalf("after SetHandler Handler = %p, want the one set last, %p", got, h)
			}
		}
	}
	peer.Close()
	receive(t, closed, "Closed")
	if h := c.Handler(); h != third {
		t.Errorf("after Closed Handler = %p, want the one that was set last", h)
	}
	if err := c.SetHandler(first); !errors.Is(err, loop.ErrClosed) || c.Handler() != third {
		t.Errorf("SetHandler after Closed: got %v, want ErrClosed and no effect", err)
	}
}

// A handler set by accept stays, whatever accept returns.
func TestHandlerSetByAccept(t *testing.T) {
	set := &funcs{}
	conns := make(chan *loop.Conn, 2)
	_, _ = serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
		c.SetHandler(set)
		if h := c.Handler(); h != set {
			t.Errorf("in accept after SetHandler, Handler = %p, want what was set", h)
		}
		return &funcs{opened: func(c *loop.Conn) {
			if h := c.Handler(); h != set {
				t.Errorf("in Opened Handler = %p, want what was set", h)
			}
			conns <- c
		}}
	})
	c := receive(t, conns, "Opened")
	if h := c.Handler(); h != set {
		t.Errorf("Handler = %p, want what was set", h)
	}
}
