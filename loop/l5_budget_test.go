package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// An echo does not have to wait for all queued functions or all expired timers.
func TestL5EchoAmongFunctionsAndTimers(t *testing.T) {
	const n = 300
	for _, what := range []string{"functions", "timers"} {
		testSimulated(t, what, func(t *testing.T) {
			var done atomic.Int32
			echoedAfter := make(chan int32, 1)
			g, c := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(*loop.Conn) loop.Handler {
				return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
					select {
					case echoedAfter <- done.Load():
					default:
					}
					return c.Write(b)
				}}
			})
			ping(t, c)
			<-echoedAfter
			l := g.Loops()[0]
			order := make([]int, 0, n)
			all := make(chan bool)
			work := func(i int) func() {
				return func() {
					if i == 0 {
						c.Write([]byte("ping"))
					}
					time.Sleep(time.Millisecond) // work
					order = append(order, i)
					if done.Add(1) == n {
						close(all)
					}
				}
			}
			release := blockLoop(t, l)
			for i := range n {
				if what == "functions" {
					l.Run(work(i))
				} else {
					l.AfterFunc(0, work(i))
				}
			}
			l.Run(func() { time.Sleep(5 * time.Millisecond) }) // until the timers have expired
			release()
			if before := receive(t, echoedAfter, "the echo"); before > n/3 {
				t.Errorf("the echo came after %d of %d %s", before, n, what)
			}
			receive(t, all, "all "+what)
			for i := range order {
				if order[i] != i {
					t.Fatalf("%s: number %d ran at position %d", what, order[i], i)
				}
			}
		})
	}
}

// Queued functions do not delay the writes of connections either, and Shutdown runs them all.
func TestL5WriteAmongFunctions(t *testing.T) { simulated(t, testWriteAmongFunctions) }

func testWriteAmongFunctions(t *testing.T) {
	const n = 300
	conns := make(chan *loop.Conn, 1)
	g, c := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) { conns <- c }}
	})
	conn := receive(t, conns, "the connection")
	var done atomic.Int32
	release := blockLoop(t, g.Loops()[0])
	for range n {
		g.Loops()[0].Run(func() { time.Sleep(time.Millisecond); done.Add(1) })
	}
	conn.Write([]byte("x"))
	release()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if before := done.Load(); before > n/3 {
		t.Errorf("the write was sent after %d of %d functions", before, n)
	}
	c.Close()
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if done.Load() != n {
		t.Errorf("%d of %d functions ran before Shutdown returned", done.Load(), n)
	}
}

// At most MaxQueuedFuncs functions may be queued for a busy loop; the loop's own functions are exempt.
func TestL2RunIsBounded(t *testing.T) {
	const most = 100
	g, c := serve(t, loop.Config{Loops: 1, MaxQueuedFuncs: most, SlowCallback: -1, OffloadQueue: 1, OffloadWorkers: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	ping(t, c)
	l := g.Loops()[0]
	release := blockLoop(t, l)
	var ran atomic.Int32
	for range most {
		if err := l.Run(func() { ran.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Run(func() { t.Error("a function ran although Run returned an error") }); !errors.Is(err, loop.ErrQueueFull) {
		t.Errorf("Run above MaxQueuedFuncs: got %v, want ErrQueueFull", err)
	}
	if n := g.Stats().Loops[0].Queued; n != most {
		t.Errorf("Stats reports %d queued functions, want %d", n, most)
	}
	// The done functions of Offload are limited, too.
	var err error
	for range 10 * most {
		answered := make(chan bool)
		if err = loop.Offload(l, func() (any, error) { close(answered); return nil, nil }, func(any, error) {}); err != nil && !errors.Is(err, loop.ErrOffloadFull) {
			break
		} else if err == nil {
			<-answered
		}
	}
	if !errors.Is(err, loop.ErrQueueFull) {
		t.Errorf("Offload of a loop with a full queue: got %v, want ErrQueueFull", err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	release()
	ping(t, dial(t, ln.Addr()))
	waitTurn(t, l)
	if n := ran.Load(); n != most {
		t.Errorf("%d functions ran, want %d", n, most)
	}
	if n := g.Stats().Loops[0].Queued; n != 0 {
		t.Errorf("Stats reports %d queued functions, want 0", n)
	}
}

// The watchdog names the function that is running and its kind, and LongestCallback includes it.
func TestSlowFunctionsAreNamed(t *testing.T) {
	for what, kind := range map[string]string{
		"function": "a function on the loop", "timer": "a timer's function", "offload": "the second half of an Offload",
		"offload on a connection": "the second half of an Offload", "accept": "", "watch": "a watch's function", "written": "a WriteOwned's done function",
	} {
		t.Run(what, func(t *testing.T) {
			var log testkit.Buffer
			g := group(t, loop.Config{Loops: 1, SlowCallback: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			l := g.Loops()[0]
			out := make(chan bool)
			defer sync.OnceFunc(func() { close(out) })()
			const want = "loop_test." // the prefix of the function's name
			switch what {
			case "function":
				l.Run(blockUntilClosed(out))
			case "timer":
				l.AfterFunc(0, blockUntilClosed(out))
			case "offload":
				f := blockUntilClosed(out)
				loop.Offload(l, func() (any, error) { return nil, nil }, func(any, error) { f() })
			case "offload on a connection":
				f := blockUntilClosed(out)
				c, closed := dialEcho(t, g)
				loop.Offload(c, func() (any, error) { return nil, nil }, func(any, error) { f() })
				defer func() {
					if s := log.String(); !strings.Contains(s, "remote="+c.RemoteAddr().String()) || !strings.Contains(s, "*loop_test.funcs") {
						t.Errorf("the log is %q, want the connection's peer and handler, too", s)
					}
					c.Abort()
					out <- true
					receive(t, closed, "Closed")
				}()
			case "watch":
				u, err := sock.ListenUDP(loopback, onNet(t)...)
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				l.WatchLater(u, pollux.Writable, func(pollux.Event) { <-out }, nil)
			case "written":
				c, _ := dialEcho(t, g)
				c.WriteOwned([]byte("x"), func(error) { <-out })
			case "accept":
				ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { <-out; return nil })
				if err != nil {
					t.Fatal(err)
				}
				dial(t, ln.Addr())
			}
			if !testkit.Eventually(func() bool { return strings.Contains(log.String(), want) && strings.Contains(log.String(), kind) }) {
				t.Fatalf("the log is %q, want a record with the function's name and %q", log.String(), kind)
			}
			if s := g.Stats().Loops[0]; s.LongestCallback < 20*time.Millisecond || s.SlowCallbacks == 0 {
				t.Errorf("LongestCallback = %v, SlowCallbacks = %d, want at least 20ms and 1", s.LongestCallback, s.SlowCallbacks)
			}
		})
	}
}

// dialEcho dials an echo server that is not of g.
func dialEcho(t *testing.T, g *loop.Group) (c *loop.Conn, closed chan bool) {
	t.Helper()
	closed = make(chan bool)
	c, err := g.Dial(context.Background(), "tcp", startEchoServer(t), func(*loop.Conn) loop.Handler {
		return &funcs{closed: func(*loop.Conn, error) { close(closed) }}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, closed
}

func blockUntilClosed(out chan bool) func() { return func() { <-out } }

// Many short functions are not a slow callback, however long they take together.
func TestShortFunctionsAreNotSlow(t *testing.T) {
	simulated(t, func(t *testing.T) {
		const limit = 400 * time.Millisecond
		g := group(t, loop.Config{Loops: 1, SlowCallback: limit, Logger: quiet()})
		l := g.Loops()[0]
		release := blockLoop(t, l)
		for range 500 {
			l.Run(func() { time.Sleep(limit / 100) })
		}
		release()
		waitTurn(t, l)
		if slow := g.Stats().Loops[0].SlowCallbacks; slow != 0 {
			t.Errorf("SlowCallbacks = %d, want 0", slow)
		}
		runOnLoop(t, l, "a slow function", func() { time.Sleep(2 * limit) })
		if slow := g.Stats().Loops[0].SlowCallbacks; slow != 1 {
			t.Errorf("SlowCallbacks = %d after a slow one, want 1", slow)
		}
	})
}

// Repeated panics, which a peer may provoke, do not fill the log, and no line is longer than the
// limit for a stack.
func TestLogOfPanicsIsLimited(t *testing.T) {
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	var deep func(n int)
	deep = func(n int) {
		if n == 0 {
			panic("provoked")
		}
		deep(n - 1)
	}
	const n = 200
	for range n {
		g.Loops()[0].Run(func() { deep(1000) })
	}
	waitTurn(t, g.Loops()[0])
	lines := strings.Count(log.String(), "provoked")
	if lines == 0 || lines > 20 {
		t.Errorf("the log has %d lines for %d panics, want 1 to 20", lines, n)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if want := fmt.Sprint("suppressed=", n-lines); !strings.Contains(log.String(), want) {
		t.Errorf("the log has no line with %s", want)
	}
	for _, line := range bytes.Split([]byte(log.String()), []byte("\n")) {
		if len(line) > 40<<10 { // quoted
			t.Errorf("the log has a line of %d bytes, want at most 40 KiB", len(line))
		}
	}
}

// descriptorLimit is the number of free descriptors, shared by several listening sockets.
type descriptorLimit struct{ free atomic.Int32 }

// limitedListener is a listening socket whose accept fails with EMFILE if no descriptor is free.
type limitedListener struct {
	*sock.TCPListener
	limit *descriptorLimit
}

func (l *limitedListener) AcceptFrom(s *sock.Stream) (netip.AddrPort, error) {
	if l.limit.free.Add(-1) < 0 {
		l.limit.free.Add(1)
		return netip.AddrPort{}, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept", syscall.EMFILE)}
	}
	a, err := l.TCPListener.AcceptFrom(s)
	if err != nil {
		l.limit.free.Add(1)
	}
	return a, err
}

// Listeners that wait for descriptors take turns: two on two loops, and two on one.
func TestL5ListenersTakeTurns(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) { testListenersTakeTurns(t, loops) })
	}
}

func testListenersTakeTurns(t *testing.T, loops int) {
	const clients = 20 // of each listener
	g := group(t, loop.Config{Loops: loops, Logger: quiet()})
	if g.Backend() == "uring" || strings.Contains(g.Backend(), "overlapped") {
		t.Skipf("the driver %s does not call AcceptFrom, so accept cannot be made to fail", g.Backend())
	}
	limit := new(descriptorLimit) // none is free
	type served struct {
		by int
		c  *loop.Conn
	}
	opened := make(chan served, 2*clients)
	closed := make(chan bool, 2*clients)
	var sockets []driver.Acceptor
	for range 2 {
		l, err := sock.ListenTCP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, &limitedListener{l, limit})
		for range clients {
			dial(t, net.TCPAddrFromAddrPort(l.Addr()))
		}
	}
	for i, s := range sockets {
		err := loop.ServeAcceptorOn(g.Loops()[i%loops], s, func(*loop.Conn) loop.Handler {
			return &funcs{
				opened: func(c *loop.Conn) { opened <- served{i, c} },
				closed: func(*loop.Conn, error) { limit.free.Add(1); closed <- true },
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	waitRetries := func() { // until each listener has tried and failed
		for range 4 {
			for _, l := range g.Loops() {
				waitTurn(t, l)
			}
		}
	}
	waitRetries()
	limit.free.Store(1)
	last, run, left := -1, 0, [2]int{clients, clients}
	for range 2 * clients {
		s := receive(t, opened, "a connection")
		left[s.by]--
		if s.by != last {
			last, run = s.by, 0
		}
		if run++; run > 4 && left[1-s.by] > 0 {
			t.Fatalf("listener %d accepted %d connections in a row while %d clients wait for the other", s.by, run, left[1-s.by])
		}
		waitRetries()
		s.c.Abort()
		receive(t, closed, "Closed")
	}
}

// Listeners that wait for a MaxConns slot take turns, too.
func TestL5MaxConnsSlotsInTurn(t *testing.T) {
	const clients = 20
	g := group(t, loop.Config{Loops: 2, MaxConns: 1, Logger: quiet()})
	type served struct {
		by int
		c  *loop.Conn
	}
	opened := make(chan served, 2*clients)
	for i := range 2 {
		l, err := sock.ListenTCP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		for range clients {
			dial(t, net.TCPAddrFromAddrPort(l.Addr()))
		}
		err = loop.ServeAcceptorOn(g.Loops()[i], l, func(*loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) { opened <- served{i, c} }}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	last, run, left := -1, 0, [2]int{clients, clients}
	for range 2 * clients {
		s := receive(t, opened, "a connection")
		left[s.by]--
		if s.by != last {
			last, run = s.by, 0
		}
		if run++; run > 4 && left[1-s.by] > 0 {
			t.Fatalf("listener %d accepted %d connections in a row while %d clients wait for the other", s.by, run, left[1-s.by])
		}
		for range 4 {
			for _, l := range g.Loops() {
				waitTurn(t, l)
			}
		}
		s.c.Abort()
	}
}

// RemoteAddr is known even if the peer has reset the connection before it was accepted.
func TestL1PeerResetBeforeAccept(t *testing.T) {
	addrs, closedAddrs := make(chan net.Addr, 1), make(chan net.Addr, 1)
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	if g.Backend() == "uring" {
		t.Skip("a multishot accept returns no addresses")
	}
	var inOpened atomic.Bool // call RemoteAddr in Opened, too
	inOpened.Store(true)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				if inOpened.Load() {
					addrs <- c.RemoteAddr()
				}
			},
			closed: func(c *loop.Conn, _ error) { closedAddrs <- c.RemoteAddr() },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		release := blockLoop(t, g.Loops()[0])
		c := dial(t, ln.Addr())
		c.SetLinger(0)
		want := c.LocalAddr().String()
		c.Close()
		testkit.SkipOnWine(t, "there, accepting a connection that was reset fails")
		release()
		if inOpened.Load() {
			if a := receive(t, addrs, "Opened"); a == nil || a.String() != want {
				t.Errorf("RemoteAddr in Opened = %v, want %s", a, want)
			}
		}
		if a := receive(t, closedAddrs, "Closed"); a == nil || a.String() != want {
			t.Errorf("RemoteAddr in Closed = %v, want %s", a, want)
		}
		inOpened.Store(false)
	}
}
