package loop_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// L9, L1: on a connection, the second half of Offload is a callback: it does not run at the same
// time as another, and comes after Opened. (The handler's state has no lock: the race detector
// checks it.)
func TestL9DoneIsACallback(t *testing.T) {
	const lines = 200
	type server struct {
		funcs
		opened           bool
		inside, answered int
	}
	answers := make(chan string, lines)
	h := &server{}
	h.funcs.opened = func(*loop.Conn) { h.opened = true }
	h.funcs.data = func(c *loop.Conn, b []byte) (int, error) {
		h.inside++
		defer func() { h.inside-- }()
		for range b {
			err := loop.Offload(c, func() (int, error) { return 1, nil }, func(n int, err error) {
				h.inside++
				h.answered += n
				answers <- fmt.Sprint(h.inside, err)
				h.inside--
			})
			if err != nil {
				t.Error(err)
			}
		}
		return len(b), nil
	}
	_, c := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
		err := loop.Offload(c, func() (any, error) { return nil, nil }, func(any, error) {
			answers <- fmt.Sprint("opened ", h.opened)
		})
		if err != nil {
			t.Error(err)
		}
		return h
	})
	if got := receive(t, answers, "the first done"); got != "opened true" {
		t.Errorf("a done function of accept's was called with %s, want it after Opened", got)
	}
	for range lines {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range lines {
		if got := receive(t, answers, "a done"); got != "1 <nil>" {
			t.Fatalf("done was called with %s, want 1 callback at a time and no error", got)
		}
	}
}

// L3: what a done function writes on its connection is staged, and sent when it returns.
func TestL9DoneWritesTogether(t *testing.T) {
	unsent := make(chan int, 1)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			return len(b), loop.Offload(c, func() (string, error) { return "answer ", nil }, func(s string, _ error) {
				for range 100 {
					io.WriteString(c, s)
				}
				unsent <- c.Unsent()
			})
		}}
	})
	want := strings.Repeat("answer ", 100)
	c.Write([]byte("x"))
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Errorf("got %q, %v, want the answer 100 times", b, err)
	}
	if n := receive(t, unsent, "done"); n != len(want) {
		t.Errorf("%d bytes were unsent at the end of done, want all %d: they are sent together", n, len(want))
	}
}

// steps is a log of callbacks.
type steps struct {
	mu   sync.Mutex
	list []string
}

func (s *steps) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, fmt.Sprintf(format, args...))
}

func (s *steps) check(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.list, want) {
		t.Errorf("the callbacks were %q, want %q", s.list, want)
	}
}

// L9, L3b: a handler that answers one line at a time, by Pause, Offload and Resume, gets every line
// that a peer sent before it reset the connection: done is called while the handler has paused,
// and while the connection is failing.
func TestL9DoneOfAFailingConnection(t *testing.T) {
	var log steps
	isReset, closed := make(chan bool), make(chan bool)
	_, c := serve(t, loop.Config{Loops: 1}, func(c *loop.Conn) loop.Handler {
		gone := c.Context().Done()
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				line := string(b[:1])
				log.add("data %s", line)
				c.Pause()
				return 1, loop.Offload(c, func() (string, error) {
					if line == "a" {
						close(isReset)
						<-gone
					}
					return line, nil
				}, func(s string, err error) {
					_, werr := io.WriteString(c, s)
					log.add("done %s %v %t", s, err, errors.Is(werr, loop.ErrClosed))
					c.Resume()
				})
			},
			closed: func(_ *loop.Conn, why error) {
				log.add("closed %t", why != nil)
				close(closed)
			},
		}
	})
	io.WriteString(c, "abc")
	receive(t, isReset, "the first line")
	c.SetLinger(0)
	c.Close()
	receive(t, closed, "Closed")
	log.mu.Lock()
	log.list = slices.DeleteFunc(log.list, func(s string) bool { return strings.HasPrefix(s, "done c") }) // nothing is unread: Closed may come first
	log.mu.Unlock()
	log.check(t, "data a", "done a <nil> true", "data b", "done b <nil> true", "data c", "closed true")
}

// L9: once the connection is being closed, whatever the reason, done is not called, and Closed
// does not wait for work. Offload returns ErrClosed then.
func TestL9NoDoneAfterTheEnd(t *testing.T) {
	why := errors.New("why")
	ends := map[string]func(c *loop.Conn, peer tcpConn) error{
		"Close":     func(c *loop.Conn, _ tcpConn) error { return c.Close() },
		"CloseWith": func(c *loop.Conn, _ tcpConn) error { return c.CloseWith(why) },
		"Abort":     func(c *loop.Conn, _ tcpConn) error { return c.Abort() },
		"AbortWith": func(c *loop.Conn, _ tcpConn) error { return c.AbortWith(why) },
		"DetachStream": func(c *loop.Conn, _ tcpConn) error {
			return c.DetachStream(func(s *sock.Stream, _ []byte, err error) {
				if err == nil {
					s.Close()
				}
			})
		},
		"the idle timeout": func(c *loop.Conn, _ tcpConn) error { return c.SetIdleTimeout(1) },
		"FIN":              func(_ *loop.Conn, peer tcpConn) error { return peer.CloseWrite() },
		"a reset":          func(_ *loop.Conn, peer tcpConn) error { peer.SetLinger(0); return peer.Close() },
	}
	for how, end := range ends {
		t.Run(how, func(t *testing.T) {
			if how == "DetachStream" {
				skipWithLayer(t, needsDetach)
			}
			conns, closed := make(chan *loop.Conn, 1), make(chan bool)
			g, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
				return closer{conns, closed}
			})
			c := receive(t, conns, "the connection")
			running, release, finished := make(chan bool), make(chan bool), make(chan bool)
			done := func(int, error) { t.Error("done was called after the end of the connection") }
			if err := loop.Offload(c, func() (int, error) { close(running); <-release; return 1, nil }, done); err != nil {
				t.Fatal(err)
			}
			receive(t, running, "the work")
			if err := end(c, peer); err != nil {
				t.Fatal(err)
			}
			if how == "Close" || how == "CloseWith" {
				peer.Close() // the connection lingers for its FIN
			}
			receive(t, closed, "Closed, while the work goes on")
			err := loop.Offload(c, func() (int, error) { t.Error("work of a closed connection runs"); return 1, nil }, done)
			var op *net.OpError
			if !errors.Is(err, loop.ErrClosed) || !errors.As(err, &op) || op.Op != "offload" {
				t.Errorf("Offload after the end: got %#v, want a net.OpError of ErrClosed", err)
			}
			close(release)
			if err := loop.Offload(g.Loops()[0], func() (int, error) { return 2, nil }, func(int, error) { close(finished) }); err != nil {
				t.Errorf("Offload on the loop after the end of a connection: %v", err)
			}
			receive(t, finished, "done on the loop")
			if err := g.Shutdown(t.Context()); err != nil { // it waits for the first work
				t.Error(err)
			}
		})
	}
}

// closer is a handler without ReadClosed.
// closer gives its connection away when it is open, and reports its end.
type closer struct {
	opened chan *loop.Conn
	closed chan bool
}

func (closer) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (h closer) Opened(c *loop.Conn)                    { h.opened <- c }
func (h closer) Closed(*loop.Conn, error)               { close(h.closed) }

// requestedEnds are calls that end a connection.
var requestedEnds = map[string]func(c *loop.Conn) error{
	"Close": (*loop.Conn).Close,
	"Abort": (*loop.Conn).Abort,
	"DetachStream": func(c *loop.Conn) error {
		return c.DetachStream(func(s *sock.Stream, _ []byte, err error) {
			if err == nil {
				s.Close()
			}
		})
	},
}

// L9: an end that was requested before work has returned comes before done, although the loop has
// not processed the request when done is queued. (After Close the connection lingers.)
func TestL9EndBeforeDone(t *testing.T) {
	for how, end := range requestedEnds {
		t.Run(how, func(t *testing.T) {
			if how == "DetachStream" {
				skipWithLayer(t, needsDetach)
			}
			conns := make(chan *loop.Conn, 1)
			g, _ := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
			c := receive(t, conns, "the connection")
			release := blockLoop(t, g.Loops()[0])
			if err := loop.Offload(c, func() (error, error) { return end(c), nil }, func(err, _ error) {
				t.Errorf("done was called after %s had returned %v", how, err)
			}); err != nil {
				t.Fatal(err)
			}
			waitOffloaded(g)
			release()
			waitTurn(t, g.Loops()[0])
			c.Abort()
			if err := g.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// waitOffloaded waits until all work has returned, and the done functions are queued.
func waitOffloaded(g *loop.Group) {
	testkit.Eventually(func() bool { return !g.OffloadBusy() })
}

// L9, L5: an end that is requested while done waits for the next turn comes before it.
func TestL9EndBeforeDeferredDone(t *testing.T) {
	for how, end := range requestedEnds {
		testSimulated(t, how, func(t *testing.T) {
			if how == "DetachStream" {
				skipWithLayer(t, needsDetach)
			}
			conns := make(chan *loop.Conn, 1)
			g, _ := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
			c := receive(t, conns, "the connection")
			l, ended := g.Loops()[0], make(chan bool)
			release := blockLoop(t, l)
			l.AfterFunc(0, func() { // it fires in the turn in which done is deferred
				if err := end(c); err != nil {
					t.Errorf("%s: %v", how, err)
				}
				close(ended)
			})
			l.Run(func() {})
			l.Run(func() { time.Sleep(5 * time.Millisecond) }) // it uses up the budget
			if err := loop.Offload(c, func() (any, error) { return nil, nil }, func(any, error) {
				select {
				case <-ended:
					t.Errorf("done was called after %s", how)
				default:
					t.Error("done was not deferred, so this tests nothing")
				}
			}); err != nil {
				t.Fatal(err)
			}
			waitOffloaded(g)
			release()
			receive(t, ended, "the timer")
			waitTurn(t, l)
			c.Abort()
			if err := g.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// L9: SetHandler takes effect before done, whose panic or Close the new handler's Closed gets.
func TestL9DoneAfterSetHandler(t *testing.T) {
	conns, closed := make(chan *loop.Conn, 1), make(chan string, 2)
	g, _ := serve(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: quiet()}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{closed: func(*loop.Conn, error) { closed <- "the old handler" }}
	})
	c := receive(t, conns, "the connection")
	release := blockLoop(t, g.Loops()[0])
	err := loop.Offload(c, func() (error, error) {
		return c.SetHandler(&funcs{closed: func(_ *loop.Conn, why error) { closed <- fmt.Sprint("the new handler: ", why) }}), nil
	}, func(error, error) { panic("boom") })
	if err != nil {
		t.Fatal(err)
	}
	release()
	if got := receive(t, closed, "Closed"); got != "the new handler: panic: boom" {
		t.Errorf("Closed was called on %s, want the new handler with the panic", got)
	}
}

// L9, L1: a panic in done closes its connection, and no other.
func TestL9PanicInDone(t *testing.T) {
	closed := make(chan error, 1)
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				switch {
				case b[0] == 'b' && len(b) < len("bad"):
					return 0, nil
				case string(b) == "bad":
					loop.Offload(c, func() (string, error) { return "boom", nil }, func(s string, _ error) { panic(s) })
				}
				return c.Write(b)
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	good, bad := dial(t, ln.Addr()), dial(t, ln.Addr())
	ping(t, good)
	io.WriteString(bad, "bad")
	var p *loop.PanicError
	if why := receive(t, closed, "Closed"); !errors.As(why, &p) || p.Value != "boom" {
		t.Errorf("Closed got %v, want a PanicError of boom", why)
	}
	ping(t, good)
}

// L9: a panic in work is an error for done, and does not close the connection.
func TestL9PanicInWorkOfConn(t *testing.T) {
	answers := make(chan answer[int], 1)
	_, c := serve(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: failOnLog(t)}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			if string(b) == "bad" {
				return len(b), loop.Offload(c, func() (int, error) { panic("boom") }, answersTo(answers))
			}
			return c.Write(b)
		}}
	})
	io.WriteString(c, "bad")
	checkPanic(t, receive(t, answers, "done"), "boom")
	ping(t, c)
}

// L9, L8: Shutdown waits for work of a connection and its done; the handler closes then.
func TestL9ShutdownOfConn(t *testing.T) {
	running, release := make(chan bool), make(chan bool)
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return shutdownFuncs{
			funcs: &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
				return len(b), loop.Offload(c, func() (string, error) { close(running); <-release; return "answer", nil }, func(s string, _ error) {
					io.WriteString(c, s)
					c.Close()
				})
			}},
			shutdown: func(*loop.Conn) { close(release) },
		}
	})
	io.WriteString(c, "x")
	receive(t, running, "the work")
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(t.Context()) }()
	if b, err := io.ReadAll(c); err != nil || string(b) != "answer" {
		t.Errorf("got %q, %v, want the answer and EOF", b, err)
	}
	c.Close()
	if err := receive(t, ended, "Shutdown"); err != nil {
		t.Error(err)
	}
}

type shutdownFuncs struct {
	*funcs
	shutdown func(*loop.Conn)
}

func (h shutdownFuncs) Shutdown(c *loop.Conn) { h.shutdown(c) }

// L9: done functions run in the order in which their work has returned.
func TestL9DoneInOrder(t *testing.T) {
	const n = 50
	conns := make(chan *loop.Conn, 1)
	g, _ := serve(t, loop.Config{Loops: 1, OffloadWorkers: 1, SlowCallback: -1}, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	c := receive(t, conns, "the connection")
	release := blockLoop(t, g.Loops()[0])
	var got []int
	all := make(chan bool)
	for i := range n {
		var on loop.Runner = c
		if i%2 == 0 {
			on = c.Loop()
		}
		err := loop.Offload(on, func() (int, error) { return i, nil }, func(i int, _ error) {
			if got = append(got, i); len(got) == n {
				close(all)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	release()
	receive(t, all, "all done functions")
	if !slices.IsSorted(got) {
		t.Errorf("the done functions ran in the order %v, want that of their work", got)
	}
}

// L5: the done functions of Offload, on a connection and on the loop, have a time budget a turn.
func TestL5EchoAmongDoneFunctions(t *testing.T) {
	const n = 300
	for _, where := range []string{"a connection", "the loop"} {
		t.Run(where, func(t *testing.T) {
			var ran atomic.Int32
			conns, echoedAfter := make(chan *loop.Conn, 1), make(chan int32, 2)
			g, c := serve(t, loop.Config{Loops: 1, OffloadWorkers: 1, SlowCallback: -1}, func(c *loop.Conn) loop.Handler {
				conns <- c
				return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
					echoedAfter <- ran.Load()
					return c.Write(b)
				}}
			})
			conn := receive(t, conns, "the connection")
			var on loop.Runner = conn
			if where == "the loop" {
				on = conn.Loop()
			}
			release := blockLoop(t, g.Loops()[0])
			all := make(chan bool)
			for i := range n {
				err := loop.Offload(on, func() (any, error) { return nil, nil }, func(any, error) {
					if i == 0 {
						c.Write([]byte("ping"))
					}
					for began := time.Now(); time.Since(began) < time.Millisecond; { // work
					}
					if ran.Add(1) == n {
						close(all)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			waitOffloaded(g)
			release()
			if before := receive(t, echoedAfter, "the echo"); before > n/3 {
				t.Errorf("the echo came after %d of %d done functions", before, n)
			}
			receive(t, all, "all done functions")
		})
	}
}

// Offload allocates for the call, for its second half, and for the goroutine that it may start,
// and nothing else, whatever the type of the result.
func TestOffloadAllocations(t *testing.T) {
	skipOnSimulation(t, "it allocates what orders the second halves")
	conns := make(chan *loop.Conn, 1)
	_, _ = serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	c := receive(t, conns, "the connection")
	if b := c.Loop().Group().Backend(); strings.HasPrefix(b, "kqueue") && runtime.GOOS == "linux" {
		t.Skipf("%s is a model in this process, and its kernel allocates", b)
	}
	ran := make(chan bool)
	work := func() ([]byte, error) { return nil, nil }
	done := func([]byte, error) { ran <- true }
	for what, on := range map[string]loop.Runner{"a connection": c, "a loop": c.Loop()} {
		if n := testing.AllocsPerRun(200, func() { loop.Offload(on, work, done); <-ran }); n > 3 {
			t.Errorf("Offload on %s: %v allocations, want at most 3", what, n)
		}
	}
}

// The errors of Offload on an open connection are net.OpErrors with its addresses.
func TestL9ErrorsOfConn(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	config := loop.Config{Loops: 1, OffloadWorkers: 1, OffloadQueue: 1, MaxQueuedFuncs: 1, SlowCallback: -1, Logger: quiet()}
	g, peer := serve(t, config, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	c := receive(t, conns, "the connection")
	check := func(err, want error) {
		t.Helper()
		var op *net.OpError
		if !errors.Is(err, want) || !errors.As(err, &op) || op.Op != "offload" || op.Net != "tcp" || op.Addr.String() != peer.LocalAddr().String() {
			t.Errorf("got %v, want a net.OpError of %v with the peer's address", err, want)
		}
	}
	check(loop.Offload[int](c, nil, nil), loop.ErrBadArgument)
	block := make(chan bool)
	var ran atomic.Int32
	work := func() (int, error) { <-block; return 1, nil }
	done := func(n int, _ error) { ran.Add(int32(n)) }
	for range 2 {
		if err := loop.Offload(c, work, done); err != nil {
			t.Fatal(err)
		}
	}
	check(loop.Offload(c, work, done), loop.ErrOffloadFull)
	release := blockLoop(t, g.Loops()[0])
	close(block)
	waitOffloaded(g)
	if err := loop.Offload(c, work, done); err != nil { // the third: its done is the last that may be queued
		t.Fatal(err)
	}
	waitOffloaded(g)
	check(loop.Offload(c, work, done), loop.ErrQueueFull)
	release()
	waitTurn(t, c.Loop())
	waitTurn(t, c.Loop()) // the done functions may have exceeded the budget of a turn
	if n := ran.Load(); n != 3 {
		t.Errorf("%d done functions ran, want 3", n)
	}
}
