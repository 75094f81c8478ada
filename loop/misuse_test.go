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

// runOnLoop runs f on a loop, and fails if it does not return.
func runOnLoop(t *testing.T, l *loop.Loop, what string, f func()) {
	t.Helper()
	done := make(chan bool)
	if err := l.Run(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	receive(t, done, what)
}

// What would wait for the loop that it is called on says so.
func TestWaitingOnTheLoopItself(t *testing.T) {
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
				t.Errorf("%s on a loop: %v", what, err)
			}
		}
		if err := tcp.Close(); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("what Serve refused is open: %v", err)
		}
		if err := udp.Close(); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("what ServePacket refused is open: %v", err)
		}
	})
	ln, err := g.Listen("tcp", "127.0.0.1:0", echoes) // Shutdown had no effect
	if err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, ln.Addr()))
}

// Arguments that are nil are refused, where they would crash a loop, end each connection,
// or leak.
func TestNilArguments(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, loop.ErrBadConfig) || !strings.Contains(err.Error(), "needed") {
			t.Errorf("%s: %v", what, err)
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
	refused("Offload", l.Offload(nil, nil))

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
		t.Errorf("Write afterwards: %v", err)
	}
	if err := c.SetNoDelay(false); err != nil {
		t.Errorf("SetNoDelay: %v", err)
	}
	c.Close()
	if err := c.SetNoDelay(true); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("SetNoDelay after Close: %v", err)
	}
}

// Loop.Dial needs nobody to tell.
func TestDialTellsNobody(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	full, nobody := listenFull(t)
	full.Close()
	opened := make(chan bool)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{nobody, ln.Addr().String()} {
		if err := g.Loops()[0].Dial(context.Background(), "tcp", to, func(*loop.Conn) loop.Handler { close(opened); return echo{} }, nil); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, opened, "the connection")
}

// A dialed connection that has ended before Dial returns is an error, which says why.
func TestDialOfWhatHasEnded(t *testing.T) {
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
			t.Errorf("%s: %v, %v", what, c, err)
		}
	}
}

// Whatever its context does meanwhile: what Dial returns without an error is open.
func TestDialReturnsWhatIsOpen(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	var opened, gaveUp int
	for end := time.Now().Add(time.Second); time.Now().Before(end) || opened == 0 || gaveUp == 0; {
		// From too short to long enough, by steps that are no multiple of anything.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration((opened+gaveUp)%307)*time.Microsecond)
		c, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
		cancel()
		switch {
		case err == nil:
			opened++
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("Dial returned a connection, and its first Write %v", err)
			}
			c.Abort()
		case errors.Is(err, context.DeadlineExceeded):
			gaveUp++
		default:
			t.Fatal(err)
		}
		if time.Since(end) > testTimeout {
			t.Fatalf("%d were opened, %d given up", opened, gaveUp)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if c, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} }); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v, %v", c, err)
	}
}

// Shutdown ends soon after its context, whatever does not return, and says what that is.
func TestL8ShutdownLeavesBehindWhatIsStuck(t *testing.T) {
	for what, x := range map[string]struct {
		block            func(l *loop.Loop, until chan bool)
		loops, offloaded int
	}{
		"a callback":       {func(l *loop.Loop, until chan bool) { l.Run(func() { <-until }) }, 1, 0},
		"an offloaded one": {func(l *loop.Loop, until chan bool) { l.Offload(func() any { <-until; return nil }, func(any) {}) }, 0, 1},
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
				t.Errorf("Shutdown: %v", err)
			}
			close(until)
			if err := g.Shutdown(context.Background()); err != nil { // it has returned
				t.Errorf("Shutdown, once more: %v", err)
			}
		})
	}
}

// Two that shut a group down are told the same.
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
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
	time.Sleep(10 * time.Millisecond)
	cancel(cause)
	both.Wait()
}

// After the end everything that calls back does so, at once, or says that it does not.
func TestAfterTheEnd(t *testing.T) {
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
	if err := l.Run(func() { t.Error("it ran") }); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	calls := 0
	l.WatchLater(u, func(pollux.Event) {}, func(err error) {
		calls++
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("WatchLater: %v", err)
		}
	})
	w.Stop(func() { calls++ })
	if calls != 2 {
		t.Errorf("%d of 2 have been told", calls)
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

// A source is told of by one, and the error says which other there is.
func TestWatchOfWhatIsWatched(t *testing.T) {
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
		t.Errorf("watched twice: %v", err)
	}
	if _, err := other.Watch(context.Background(), u, func(pollux.Event) {}); !errors.Is(err, pollux.ErrOtherPoll) {
		t.Errorf("watched by another loop: %v", err)
	}
	stopped := make(chan bool)
	w.Stop(func() { close(stopped) })
	receive(t, stopped, "Stop")
	if _, err := other.Watch(context.Background(), u, func(pollux.Event) {}); err != nil {
		t.Errorf("another loop, after Stop: %v", err)
	}
	u.Close()
	if _, err := l.Watch(context.Background(), u, func(pollux.Event) {}); !errors.Is(err, pollux.ErrSourceClosed) {
		t.Errorf("a closed source: %v", err)
	}
}

func TestBadConfigAndAddresses(t *testing.T) {
	for _, c := range []loop.Config{{Loops: -1}, {Loops: 5000}, {LowWatermark: 10, HighWatermark: 5}, {MaxUnsent: 1, HighWatermark: 2}, {BusyPoll: pollux.MaxBusyPoll + 1}, {MaxConns: -1}, {Backend: "carrier-pigeon"}} {
		if _, err := loop.NewGroup(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	g := group(t, loop.Config{Loops: 1})
	for _, a := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "example.org:80", "[::1:80"} {
		if _, err := g.Listen("tcp", a, nil); err == nil {
			t.Errorf("listening at %q succeeded", a)
		}
	}
	if _, err := g.Listen("carrier", "127.0.0.1:0", nil); err == nil {
		t.Error("listening on an unknown network succeeded")
	}
}
