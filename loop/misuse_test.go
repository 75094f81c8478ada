package loop_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// runOnLoop runs f on a loop, and fails the test if f does not return in time.
func runOnLoop(t *testing.T, l *loop.Loop, what string, f func()) {
	t.Helper()
	done := make(chan bool)
	if err := l.Run(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	receive(t, done, what)
}

// A call that would wait for the loop on which it is called returns ErrOnLoop.
func TestBlockingCallsOnTheLoop(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	l := g.Loops()[1]
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	runOnLoop(t, l, "the errors", func() {
		tcp, err := sock.ListenTCP(loopback)
		if err != nil {
			t.Error(err)
			return
		}
		udp, err := sock.ListenUDP(loopback)
		if err != nil {
			t.Error(err)
			return
		}
		_, listen := g.Listen("tcp", "127.0.0.1:0", echoes)
		_, serve := g.Serve(tcp, echoes)
		_, packet := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return nil })
		_, servePacket := g.ServePacket(udp, func(*loop.PacketConn) loop.PacketHandler { return nil })
		_, dial := g.Dial(context.Background(), "tcp", tcp.Addr().String(), echoes)
		_, watch := l.Watch(context.Background(), udp, func(pollux.Event) {})
		for what, err := range map[string]error{
			"Listen": listen, "Serve": serve, "ListenPacket": packet, "ServePacket": servePacket, "Dial": dial, "Watch": watch,
			"Shutdown": g.Shutdown(context.Background()),
		} {
			if !errors.Is(err, loop.ErrOnLoop) {
				t.Errorf("%s on a loop: got %v, want ErrOnLoop", what, err)
			}
		}
		if err := tcp.Close(); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("Close after Serve failed: got %v, want ErrClosed", err)
		}
		if err := udp.Close(); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("Close after ServePacket failed: got %v, want ErrClosed", err)
		}
	})
	ln, err := g.Listen("tcp", "127.0.0.1:0", echoes) // Shutdown had no effect
	if err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, ln.Addr()))
}

// Nil arguments that would crash a loop, end each connection, or leak are errors.
func TestNilArguments(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), "needed") {
			t.Errorf("%s: got %v, want ErrBadArgument with the word needed", what, err)
		}
	}
	_, err := g.Listen("tcp", "127.0.0.1:0", nil)
	refused("Listen", err)
	_, err = g.Serve(nil, func(*loop.Conn) loop.Handler { return echo{} })
	refused("Serve", err)
	_, err = g.ServeUnix(nil, func(*loop.Conn) loop.Handler { return echo{} })
	refused("ServeUnix", err)
	_, err = g.ListenPacket("udp", "127.0.0.1:0", nil)
	refused("ListenPacket", err)
	_, err = g.ServePacket(nil, nil)
	refused("ServePacket", err)
	_, err = g.Dial(context.Background(), "tcp", "127.0.0.1:1", nil)
	refused("Dial", err)
	refused("Loop.Dial", l.Dial(context.Background(), "tcp", "127.0.0.1:1", nil, nil))
	_, err = l.Watch(context.Background(), nil, func(pollux.Event) {})
	refused("Watch of nothing", err)
	var none *sock.UDPSocket
	_, err = l.Watch(context.Background(), none, func(pollux.Event) {})
	refused("Watch of a nil socket", err)
	u, err := sock.ListenUDP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, err = l.Watch(context.Background(), u, nil)
	refused("Watch without a function", err)
	refused("Run", l.Run(nil))
	refused("Offload", loop.Offload[int](l, nil, nil))

	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	refused("SetHandler", c.SetHandler(nil))
	refused("Detach", c.Detach(nil))
	refused("DetachStream", c.DetachStream(nil))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("Write after the errors: %v", err)
	}
	if err := c.SetNoDelay(false); err != nil {
		t.Errorf("SetNoDelay: %v", err)
	}
	c.Close()
	if err := c.SetNoDelay(true); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("SetNoDelay after Close: got %v, want ErrClosed", err)
	}
}

// The function of Loop.Dial may be nil.
func TestDialWithoutFunction(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l, refusing := listenFull(t)
	l.Close()
	opened := make(chan bool)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{refusing, ln.Addr().String()} {
		if err := g.Loops()[0].Dial(context.Background(), "tcp", to, func(*loop.Conn) loop.Handler { close(opened); return echo{} }, nil); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, opened, "the connection")
}

// If a dialed connection ends before Dial returns, Dial returns the reason as an error.
func TestDialOfConnThatEnds(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		accept func(*loop.Conn) loop.Handler
		is     func(error) bool
	}{
		"no handler": {
			func(*loop.Conn) loop.Handler { return nil },
			func(err error) bool { return strings.Contains(err.Error(), "returned nil") },
		},
		"a panic": {
			func(*loop.Conn) loop.Handler { panic("no") },
			func(err error) bool { var p *loop.PanicError; return errors.As(err, &p) },
		},
		"Abort by Opened": {
			func(*loop.Conn) loop.Handler { return &funcs{opened: func(c *loop.Conn) { c.Abort() }} },
			func(err error) bool { return errors.Is(err, loop.ErrAborted) },
		},
	} {
		c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), x.accept)
		var op *net.OpError
		if c != nil || err == nil || !x.is(err) || !errors.As(err, &op) || op.Op != "dial" || op.Addr.String() != ln.Addr().String() {
			t.Errorf("%s: Dial = %v, %v, want the reason in a net.OpError", what, c, err)
		}
	}
}

// A connection that Dial returns without an error is open, whenever its context ends.
func TestDialReturnsOpenConn(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	var opened, gaveUp int
	for end := time.Now().Add(time.Second); time.Now().Before(end) || opened == 0 || gaveUp == 0; {
		// From too short to long enough, in steps without a common multiple.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration((opened+gaveUp)%307)*time.Microsecond)
		c, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
		cancel()
		switch {
		case err == nil:
			opened++
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("the first Write after Dial failed: %v", err)
			}
			c.Abort()
		case errors.Is(err, context.DeadlineExceeded):
			gaveUp++
		default:
			t.Fatal(err)
		}
		if time.Since(end) > testTimeout {
			t.Fatalf("%d dials succeeded and %d timed out, want both kinds", opened, gaveUp)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if c, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} }); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a canceled context = %v, %v, want Canceled", c, err)
	}
}

// Shutdown returns soon after its context ends, even if functions do not return, and reports how
// many.
func TestL8ShutdownWithBlockedFunctions(t *testing.T) {
	for what, x := range map[string]struct {
		block            func(l *loop.Loop, until chan bool)
		loops, offloaded int
	}{
		"a callback":            {func(l *loop.Loop, until chan bool) { l.Run(func() { <-until }) }, 1, 0},
		"an offloaded function": {func(l *loop.Loop, until chan bool) { loop.Offload(l, func() (any, error) { <-until; return nil, nil }, func(any, error) {}) }, 0, 1},
	} {
		t.Run(what, func(t *testing.T) {
			g, err := loop.NewGroup(loop.Config{Loops: 2, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			until := make(chan bool)
			x.block(g.Loops()[0], until)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			var left *loop.ShutdownError
			err = g.Shutdown(ctx)
			if !errors.As(err, &left) || left.Loops != x.loops || left.Offloaded != x.offloaded || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: got %v, want a ShutdownError of DeadlineExceeded, %d loops, %d offloaded", err, x.loops, x.offloaded)
			}
			close(until)
			if err := g.Shutdown(context.Background()); err != nil { // the function has returned
				t.Errorf("second Shutdown: %v", err)
			}
		})
	}
}

// Concurrent calls of Shutdown return the same error.
func TestL8ShutdownTwice(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, ln.Addr()))
	cause := errors.New("it is late")
	ctx, cancel := context.WithCancelCause(context.Background())
	var both sync.WaitGroup
	for _, ctx := range []context.Context{context.Background(), ctx} {
		both.Go(func() {
			var cut *loop.ShutdownError
			if err := g.Shutdown(ctx); !errors.As(err, &cut) || cut.Conns != 1 || !errors.Is(err, cause) {
				t.Errorf("Shutdown: got %v, want a ShutdownError of the cause with 1 connection", err)
			}
		})
	}
	time.Sleep(10 * time.Millisecond)
	cancel(cause)
	both.Wait()
}

// After Shutdown, a method with a callback calls it immediately, or returns an error.
func TestCallbacksAfterShutdown(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	u, err := sock.ListenUDP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	w, err := l.Watch(context.Background(), u, func(pollux.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(func() { t.Error("a function of Run was called after Shutdown") }); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Run: got %v, want ErrClosed", err)
	}
	calls := 0
	l.WatchLater(u, func(pollux.Event) {}, func(err error) {
		calls++
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("WatchLater: got %v, want ErrClosed", err)
		}
	})
	w.Stop(func() { calls++ })
	if calls != 2 {
		t.Errorf("%d callbacks were called, want 2", calls)
	}
	q, err := pollux.New() // the source is free again
	if errors.Is(err, pollux.ErrBackend) {
		t.Skip("skipped in part: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Registrator().Register(u, 1, pollux.Readable, pollux.Edge); err != nil {
		t.Error(err)
	}
}

// A source can be registered once only; the error reports whether this loop or another one has it.
func TestWatchRegisteredSource(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	u, err := sock.ListenUDP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	l, other := g.Loops()[0], g.Loops()[1]
	w, err := l.Watch(context.Background(), u, func(pollux.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Watch(context.Background(), u, func(pollux.Event) {}); !errors.Is(err, pollux.ErrRegistered) {
		t.Errorf("second Watch on the same loop: got %v, want ErrRegistered", err)
	}
	if _, err := other.Watch(context.Background(), u, func(pollux.Event) {}); !errors.Is(err, pollux.ErrOtherPoll) {
		t.Errorf("Watch on another loop: got %v, want ErrOtherPoll", err)
	}
	stopped := make(chan bool)
	w.Stop(func() { close(stopped) })
	receive(t, stopped, "Stop")
	if _, err := other.Watch(context.Background(), u, func(pollux.Event) {}); err != nil {
		t.Errorf("Watch on another loop after Stop: %v", err)
	}
	u.Close()
	if _, err := l.Watch(context.Background(), u, func(pollux.Event) {}); !errors.Is(err, pollux.ErrSourceClosed) {
		t.Errorf("Watch of a closed source: got %v, want ErrSourceClosed", err)
	}
}

func TestBadConfigAndAddresses(t *testing.T) {
	for _, c := range []loop.Config{{Loops: -1}, {Loops: 5000}, {LowWatermarkBytes: 10, HighWatermarkBytes: 5}, {MaxUnsentBytes: 1, HighWatermarkBytes: 2}, {BusyPoll: pollux.MaxBusyPoll + 1}, {MaxConns: -1}, {Backend: "carrier-pigeon"}} {
		if _, err := loop.NewGroup(c); err == nil {
			t.Errorf("NewGroup(%+v) succeeded, want an error", c)
		}
	}
	g := group(t, loop.Config{Loops: 1})
	for _, a := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "example.org:80", "[::1:80"} {
		if _, err := g.Listen("tcp", a, nil); err == nil {
			t.Errorf("Listen at %q succeeded, want an error", a)
		}
	}
	if _, err := g.Listen("carrier", "127.0.0.1:0", nil); err == nil {
		t.Error("Listen on an unknown network succeeded, want an error")
	}
}
