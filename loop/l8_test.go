package loop_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

type closesAtShutdown struct{ echo }

func (closesAtShutdown) Shutdown(c *loop.Conn) { c.Close() }

// Shutdown neither waits for peers that have been sent everything and never close, nor returns an
// error because of them.
func TestL8ShutdownWithIdlePeers(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return closesAtShutdown{}
	})
	ping(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	start := time.Now()
	if err := g.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(start); took > testTimeout/2 {
		t.Errorf("Shutdown took %v", took)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer read %d bytes, %v, want EOF", n, err)
	}
}

func TestL8Shutdown(t *testing.T) {
	before := testkit.CountUsage()
	g, err := newGroup(t, loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	b := make([]byte, 4)
	c.Write([]byte("ping"))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	go func() { ended <- g.Shutdown(ctx) }()
	// The existing connection goes on; new ones are refused.
	if !testkit.Eventually(func() bool {
		n, err := dialNet(t, "tcp", ln.Addr().String())
		if err == nil {
			n.Close()
		}
		return err != nil
	}) {
		t.Error("new connections are accepted during Shutdown")
	}
	c.Write([]byte("pong"))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "pong" {
		t.Errorf("echo during Shutdown = %q, %v, want pong", b, err)
	}
	c.Close()
	if err := receive(t, ended, "Shutdown"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	before.Check(t)
}

func TestL8ShutdownClosesRemainingConns(t *testing.T) {
	closed := make(chan error, 1)
	opened := make(chan bool, 1)
	g, _ := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(*loop.Conn) { opened <- true },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	receive(t, opened, "Opened")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := g.Shutdown(ctx)
	if cut := new(loop.ShutdownError); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &cut) || cut.Conns != 1 {
		t.Errorf("Shutdown: got %v, want a ShutdownError of DeadlineExceeded with 1 connection", err)
	}
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrShutdown) {
		t.Errorf("Closed got %v, want ErrShutdown", why)
	}
	if _, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} }); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Listen after Shutdown: got %v, want ErrClosed", err)
	}
}

// After Shutdown, no call that waits for a loop hangs.
func TestAfterShutdown(t *testing.T) {
	g, err := newGroup(t, loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	l := g.Loops()[0]
	if err := g.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 3)
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	go func() {
		_, err := g.Dial(context.Background(), "tcp", "127.0.0.1:1", func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
		_, err = l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
		ended <- err
		_, err = g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
	}()
	for range 3 {
		if err := receive(t, ended, "a call after Shutdown"); err == nil {
			t.Error("a call after Shutdown succeeded, want an error")
		}
	}
	if err := loop.Offload(l, func() (any, error) { return nil, nil }, func(any, error) {}); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Offload after Shutdown: got %v, want ErrClosed", err)
	}
}

// A function that queues itself again and again does not prevent the end of the group.
func TestL8RunChain(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	l, ended := g.Loops()[0], make(chan error, 1)
	var f func()
	f = func() {
		if err := l.Run(f); err != nil {
			ended <- err
		}
	}
	l.Run(f)
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := receive(t, ended, "the end of the chain"); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Run after Shutdown: got %v, want ErrClosed", err)
	}
}
