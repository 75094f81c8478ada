package loop_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// blockLoop blocks a loop in a function until the test ends, or release is called.
func blockLoop(t *testing.T, l *loop.Loop) (release func()) {
	t.Helper()
	blocked, out := make(chan bool), make(chan bool)
	if err := l.Run(func() { close(blocked); <-out }); err != nil {
		t.Fatal(err)
	}
	receive(t, blocked, "the function that blocks the loop")
	release = sync.OnceFunc(func() { close(out) })
	t.Cleanup(release)
	return release
}

// waitTurn waits until a loop has run the functions that were queued before.
func waitTurn(t *testing.T, l *loop.Loop) {
	t.Helper()
	done := make(chan bool)
	if err := l.Run(func() { close(done) }); err != nil {
		t.Fatal(err)
	}
	receive(t, done, "a turn of the loop")
}

// newBlockedGroup starts a group of one loop, which is blocked until the returned function is
// called.
func newBlockedGroup(t *testing.T, c loop.Config) (*loop.Group, func()) {
	t.Helper()
	c.Loops, c.Logger, c.SlowCallback = 1, quiet(), -1
	g := group(t, c)
	return g, blockLoop(t, g.Loops()[0])
}

// Dial returns when its context ends, though its loop is in a callback, and immediately releases
// its MaxConns slot, without the loop.
func TestL11DialWhileTheLoopIsBlocked(t *testing.T) {
	g, release := newBlockedGroup(t, loop.Config{MaxConns: 1})
	cause := errors.New("no more time")
	ctx, cancel := context.WithCancelCause(context.Background())
	other := startEchoServer(t)
	ended := make(chan error, 1)
	go func() {
		_, err := g.Dial(ctx, "tcp", other, func(*loop.Conn) loop.Handler {
			t.Error("accept was called after Dial had returned")
			return nil
		})
		ended <- err
	}()
	for g.Conns() == 0 {
		runtime.Gosched()
	}
	cancel(cause)
	err := receive(t, ended, "Dial's return") // while the loop is blocked
	if op := new(net.OpError); !errors.Is(err, cause) || !errors.As(err, &op) || op.Addr == nil {
		t.Errorf("Dial: got %v, want a net.OpError with the context's cause", err)
	}
	if n := g.Conns(); n != 0 {
		t.Errorf("Conns() = %d after Dial has returned, want 0", n)
	}
	release()
	c, err := g.Dial(context.Background(), "tcp", other, func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c.Abort()
}

// The same if the loop is blocked after it has begun to connect: a connection that is established
// meanwhile is not opened, and its slot is released.
func TestL11DialCanceledWhileConnecting(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, MaxConns: 1, Logger: quiet(), SlowCallback: -1})
	l := g.Loops()[0]
	full, hanging := listenFull(t)
	defer full.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := g.Dial(ctx, "tcp", hanging, func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
	}()
	testkit.Eventually(func() bool { return g.Conns() > 0 || len(ended) > 0 })
	waitTurn(t, l)
	release := blockLoop(t, l)
	cancel()
	err := receive(t, ended, "Dial's return")
	if !errors.Is(err, context.Canceled) {
		t.Skip("connecting to a full backlog does not hang on this system: ", err)
	}
	release()
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
		t.Fatal("the MaxConns slot of a canceled dial was not released")
	}
}

// Canceling the context of hanging calls of Loop.Dial releases their MaxConns slots, and each
// calls back once, with the cause.
func TestL11LoopDialCanceled(t *testing.T) {
	const most = 10
	g := group(t, loop.Config{Loops: 1, MaxConns: most, Logger: quiet()})
	l := g.Loops()[0]
	full, hanging := listenFull(t)
	defer full.Close()
	cause := errors.New("no more time")
	ctx, cancel := context.WithCancelCause(context.Background())
	var calls atomic.Int32
	results := make(chan error, most)
	for range most {
		err := l.Dial(ctx, "tcp", hanging, func(*loop.Conn) loop.Handler { return echo{} }, func(c *loop.Conn, err error) {
			if c != nil {
				t.Error("a canceled dial returned a connection")
			}
			calls.Add(1)
			results <- err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	waitTurn(t, l)
	cancel(cause)
	for range most {
		err := receive(t, results, "the result of a dial")
		if op := new(net.OpError); !errors.As(err, &op) {
			t.Errorf("the dial's result is %v, want a net.OpError", err)
		} else if !errors.Is(err, cause) {
			t.Skip("connecting to a full backlog does not hang on this system: ", err)
		}
	}
	// Each releases its slot before it calls back.
	if n := g.Conns(); n != 0 {
		t.Errorf("Conns() = %d after all dials were canceled, want 0", n)
	}
	if err := l.Dial(ctx, "tcp", hanging, func(*loop.Conn) loop.Handler { return echo{} }, nil); !errors.Is(err, cause) {
		t.Errorf("Dial with a canceled context: got %v, want its cause", err)
	}
	if n := calls.Load(); n != most {
		t.Errorf("%d dials called back, want %d", n, most)
	}
}

// A context that ends after the connection has opened has no effect.
func TestL11DialContextEndsAfterOpened(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	ctx, cancel := context.WithCancel(context.Background())
	conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
	err := g.Loops()[0].Dial(ctx, "tcp", startEchoServer(t), func(*loop.Conn) loop.Handler {
		return &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
	}, func(c *loop.Conn, err error) { conns <- c })
	if err != nil {
		t.Fatal(err)
	}
	c := receive(t, conns, "the connection")
	cancel()
	waitTurn(t, g.Loops()[0])
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("Closed got %v, want nil", why)
	}
}

// Listen, Serve and ListenPacket do not wait for a loop that is in a callback: it serves the new
// sockets once the callback returns.
func TestL11ListenWhileTheLoopIsBlocked(t *testing.T) {
	g, release := newBlockedGroup(t, loop.Config{})
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	inherited, err := sock.ListenTCP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	listeners := make(chan *loop.Listener, 2)
	packets := make(chan *loop.PacketListener, 1)
	go func() {
		ln, err := g.Listen("tcp", "127.0.0.1:0", echoes)
		if err != nil {
			t.Error(err)
		}
		listeners <- ln
		if ln, err = g.Serve(inherited, echoes); err != nil {
			t.Error(err)
		}
		listeners <- ln
		pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoThreeWays{} })
		if err != nil {
			t.Error(err)
		}
		packets <- pl
	}()
	a, b, p := receive(t, listeners, "Listen's return"), receive(t, listeners, "Serve's return"), receive(t, packets, "ListenPacket's return")
	if t.Failed() {
		return
	}
	c := dial(t, a.Addr()) // waits in the backlog
	if b.Close() != nil || p.Close() != nil {
		t.Error("Close failed while the loop is blocked")
	}
	release()
	ping(t, c)
	ping(t, dial(t, a.Addr()))
}

// A listening socket that a loop cannot register once it is unblocked is closed: no client waits
// forever.
func TestL11ListenFailsAfterReturn(t *testing.T) {
	g, release := newBlockedGroup(t, loop.Config{})
	l := g.Loops()[0]
	s, err := sock.ListenTCP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.TCPAddrFromAddrPort(s.Addr())
	// Another group has registered it, so the loop's registration fails.
	other := group(t, loop.Config{Loops: 1})
	if _, err := other.Loops()[0].Watch(context.Background(), s, pollux.Readable, func(pollux.Event) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Serve(s, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		t.Fatal("Serve failed while the loop is blocked: ", err)
	}
	release()
	waitTurn(t, l)
	for {
		c, err := dialNet(t, "tcp", addr.String())
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(testTimeout))
		c.Write([]byte("x"))
		_, err = c.Read(make([]byte, 1))
		c.Close()
		switch {
		case err == nil:
			t.Skipf("the driver %s can serve a socket that another loop watches: nothing fails", g.Backend())
		case !sys.OnWine() || errors.Is(err, os.ErrDeadlineExceeded): // Wine closes listeners a moment later
			t.Fatal("a client can connect, but is not accepted: ", err)
		}
	}
}

// Watch returns when its context ends, and src is not watched afterwards.
func TestL11WatchWhileTheLoopIsBlocked(t *testing.T) {
	g, release := newBlockedGroup(t, loop.Config{})
	l := g.Loops()[0]
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := l.Watch(ctx, u, pollux.Readable, func(pollux.Event) { t.Error("the canceled watch reported an event") })
		ended <- err
	}()
	if err := receive(t, ended, "Watch's return"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch: got %v, want DeadlineExceeded", err)
	}
	release()
	w, err := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	w.Stop(nil)
}

// Stats and Close do not wait for a callback.
func TestL11StatsAndCloseWhileTheLoopIsBlocked(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet(), SlowCallback: -1})
	l := g.Loops()[0]
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoThreeWays{} })
	if err != nil {
		t.Fatal(err)
	}
	blockLoop(t, l)
	for range 7 {
		if err := l.Run(func() {}); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan loop.Stats, 1)
	go func() {
		ln.Close()
		pl.Close()
		ended <- g.Stats()
	}()
	if s := receive(t, ended, "Stats"); s.Loops[0].Queued != 7 {
		t.Errorf("Stats reports %d queued functions, want 7", s.Loops[0].Queued)
	}
	if c, err := dialNet(t, "tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("a closed listener accepts")
	}
}

// After Shutdown nothing is bound: the error names the requested address.
func TestL8ListenAfterShutdownBindsNothing(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	if err := g.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	_, perr := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoThreeWays{} })
	for _, err := range []error{err, perr} {
		op := new(net.OpError)
		if !errors.As(err, &op) || !errors.Is(err, loop.ErrClosed) || op.Addr.String() != "127.0.0.1:0" {
			t.Errorf("listening after Shutdown: got %v, want a net.OpError of ErrClosed with 127.0.0.1:0", err)
		}
	}
}
