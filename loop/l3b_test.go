package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// isReset reports whether err is one of those that the reset of the peer causes.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// A client sends five lines and closes. The handler consumes one at a time, pauses, and writes an
// answer before it resumes, which fails: it still gets all five, and then the error.
func TestL3bUnreadIsDeliveredAfterAFailedWrite(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { testFiveLines(t, network) })
	}
}

func testFiveLines(t *testing.T, network string) {
	address := "127.0.0.1:0"
	if network == "unix" {
		testkit.SkipOnWine(t, "it has no Unix sockets")
		address = filepath.Join(t.TempDir(), "s")
	}
	lines, closed := make(chan string, 10), make(chan error, 1)
	reset := make(chan bool)
	ln, err := group(t, loop.Config{Loops: 1}).Listen(network, address, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				i := bytes.IndexByte(b, '\n')
				if i < 0 {
					return 0, nil
				}
				lines <- string(b[:i])
				c.Pause()
				go func() {
					<-reset
					c.Write([]byte("answer\n"))
					c.Resume()
				}()
				return i + 1, nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialNet(t, network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("a\nb\nc\nd\ne\n"))
	got := receive(t, lines, "the first line")
	if tcp, ok := asTCP(c); ok {
		tcp.SetLinger(0)
	}
	c.Close()
	close(reset)
	for len(got) < 5 {
		got += receive(t, lines, "the next line after "+got)
	}
	if got != "abcde" {
		t.Errorf("got the lines %q, want abcde", got)
	}
	if why := receive(t, closed, "Closed"); !isReset(why) {
		t.Errorf("Closed got %v, want a reset", why)
	}
	if len(lines) > 0 {
		t.Errorf("got the line %q, too", <-lines)
	}
}

// A client uploads, and the server answers early and closes: the client gets the answer, and then
// the error.
func TestL3bEarlyAnswer(t *testing.T) {
	for what, write := range map[string]func(c *loop.Conn){
		"Write":      func(c *loop.Conn) { c.Write(make([]byte, 16<<20)) },
		"WriteOwned": func(c *loop.Conn) { c.WriteOwned(make([]byte, 16<<20), nil) },
		"in chunks": func(c *loop.Conn) {
			for range 256 {
				c.Write(make([]byte, 64<<10))
			}
		},
		"with back-pressure": func(c *loop.Conn) {
			c.SetBackpressure(true)
			c.Write(make([]byte, 16<<20))
		},
	} {
		t.Run(what, func(t *testing.T) {
			ln, err := listenNet(t, "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				io.ReadFull(c, make([]byte, 1000))
				c.Write([]byte("413"))
				c.Close() // with unread bytes: the system resets the connection
			}()
			answer, closed := make(chan string, 10), make(chan error, 1)
			_, err = group(t, loop.Config{}).Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: write,
					data:   func(_ *loop.Conn, b []byte) (int, error) { answer <- string(b); return len(b), nil },
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := receiveAll(t, answer, len("413"), "the answer"); a != "413" {
				t.Errorf("the answer is %q, want 413", a)
			}
			if why := receive(t, closed, "Closed"); !isReset(why) {
				t.Errorf("Closed got %v, want a reset", why)
			}
		})
	}
}

// The peer half-closes, and resets later: the reset is reported even if nothing is written.
func TestL3bResetAfterHalfClose(t *testing.T) {
	for what, act := range map[string]func(c *loop.Conn){
		"nothing":    func(*loop.Conn) {},
		"CloseWrite": func(c *loop.Conn) { c.CloseWrite() },
		"Write":      func(c *loop.Conn) { c.Write([]byte("x")) },
	} {
		t.Run(what, func(t *testing.T) {
			ended, closed := make(chan *loop.Conn, 1), make(chan error, 1)
			_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
				return &funcs{
					readClosed: func(c *loop.Conn) { ended <- c },
					closed:     func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			c.CloseWrite()
			conn := receive(t, ended, "ReadClosed")
			c.SetLinger(0)
			c.Close()
			act(conn)
			why := receive(t, closed, "Closed")
			if !errors.Is(why, syscall.ECONNRESET) && !(what == "Write" && isReset(why)) {
				t.Errorf("Closed got %v, want a reset", why)
			}
		})
	}
}

// A reset during the callback, before CloseWrite, is not reported as ENOTCONN.
func TestL3bCloseWriteAfterAReset(t *testing.T) {
	called, reset, closed := make(chan bool), make(chan bool), make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			readClosed: func(c *loop.Conn) {
				close(called)
				<-reset
				c.CloseWrite()
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.CloseWrite()
	receive(t, called, "ReadClosed")
	c.SetLinger(0)
	c.Close()
	close(reset)
	if why := receive(t, closed, "Closed"); !errors.Is(why, syscall.ECONNRESET) {
		t.Errorf("Closed got %v, want a reset", why)
	}
}

// A reset while the connection is paused is reported immediately if nothing is unread, else after
// the unread bytes were delivered.
func TestL3bResetWhilePaused(t *testing.T) {
	for _, unread := range []int{0, 5, 60 << 10} {
		for _, by := range []string{"hand", "hand, in Opened", "the watermark"} {
			t.Run(fmt.Sprintf("by %s, %d bytes unread", by, unread), func(t *testing.T) {
				conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
				got := make(chan int, 100)
				config := loop.Config{Loops: 1, HighWatermarkBytes: 64 << 10, LowWatermarkBytes: 1 << 10, MaxUnreadBytes: 32 << 10}
				_, c := serve(t, config, func(*loop.Conn) loop.Handler {
					stop := func(c *loop.Conn) {
						if by == "the watermark" {
							c.Write(make([]byte, 32<<20))
						} else {
							c.Pause()
						}
						conns <- c
					}
					h := &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
					first := true
					h.data = func(c *loop.Conn, b []byte) (int, error) {
						if first && by != "hand, in Opened" {
							first = false
							stop(c)
							return len(b), nil
						}
						got <- len(b)
						return len(b), nil
					}
					if by == "hand, in Opened" {
						h.opened = stop
					}
					return h
				})
				if by != "hand, in Opened" {
					c.Write([]byte("x"))
				}
				conn := receive(t, conns, "the connection")
				waitTurns(t, conn)
				ctx := conn.Context()
				c.Write(make([]byte, unread))
				c.SetLinger(0)
				c.Close()
				receive(t, ctx.Done(), "the end of the context")
				if !isReset(context.Cause(ctx)) {
					t.Errorf("the context's cause is %v, want a reset", context.Cause(ctx))
				}
				if _, err := conn.Write([]byte("x")); !errors.Is(err, loop.ErrClosed) {
					t.Errorf("Write after the reset: got %v, want ErrClosed", err)
				} else if len(closed) == 0 && !isReset(err) {
					t.Errorf("Write after the reset: got %v, want the reset as the cause", err)
				}
				if unread > 0 && by != "the watermark" {
					waitTurns(t, conn)
					if len(got) > 0 || len(closed) > 0 {
						t.Fatalf("while paused, Data was called %d times, Closed %d times", len(got), len(closed))
					}
					conn.Resume()
				}
				for n := 0; n < unread; {
					n += receive(t, got, fmt.Sprintf("more than %d bytes of %d", n, unread))
				}
				if why := receive(t, closed, "Closed"); !isReset(why) {
					t.Errorf("Closed got %v, want a reset", why)
				}
			})
		}
	}
}

// waitTurns waits until the connection's loop has run the functions that were queued before, and
// those that these have queued.
func waitTurns(t *testing.T, c *loop.Conn) {
	t.Helper()
	for range 3 { // a function may queue another one
		done := make(chan bool, 1)
		if err := c.Loop().Run(func() { done <- true }); err != nil {
			t.Fatal(err)
		}
		receive(t, done, "a turn of the loop")
	}
}

// The calls that a handler may make while bytes are unread and the connection has been reset.
func TestL3bCallsWhileFailing(t *testing.T) {
	rest := strings.Repeat("rest", 1000)
	never := errors.New("never")
	type result struct {
		text string
		why  error
	}
	for what, x := range map[string]struct {
		act  func(t *testing.T, g *loop.Group, c *loop.Conn)
		text string
		want error
	}{
		"Resume": {func(_ *testing.T, _ *loop.Group, c *loop.Conn) { c.Resume() }, rest, syscall.ECONNRESET},
		"Close":  {func(_ *testing.T, _ *loop.Group, c *loop.Conn) { c.Close() }, "", syscall.ECONNRESET},
		"Abort":  {func(_ *testing.T, _ *loop.Group, c *loop.Conn) { c.Abort() }, "", loop.ErrAborted},
		"SetHandler": {func(_ *testing.T, _ *loop.Group, c *loop.Conn) {
			c.Resume() // the handler below collects the bytes
		}, rest, syscall.ECONNRESET},
		"idle timeout": {func(_ *testing.T, _ *loop.Group, c *loop.Conn) { c.SetIdleTimeout(time.Millisecond) }, "", loop.ErrTimeout},
		"read deadline": {func(_ *testing.T, _ *loop.Group, c *loop.Conn) {
			c.SetReadDeadline(time.Now())
		}, "", loop.ErrTimeout},
		"Shutdown": {func(_ *testing.T, g *loop.Group, _ *loop.Conn) { g.Shutdown(canceledContext()) }, "", loop.ErrShutdown},
		"CloseWrite": {func(t *testing.T, _ *loop.Group, c *loop.Conn) {
			if err := c.CloseWrite(); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("CloseWrite: got %v, want ErrClosed", err)
			}
			c.Resume()
		}, rest, syscall.ECONNRESET},
		"Detach": {func(t *testing.T, _ *loop.Group, c *loop.Conn) {
			unread := make(chan string, 1)
			c.DetachStream(func(s *sock.Stream, b []byte, err error) {
				if s != nil || !isReset(err) {
					t.Errorf("Detach's function got %v, %v, want nil and a reset", s, err)
				}
				unread <- string(b)
			})
			if got := receive(t, unread, "Detach's function"); got != rest {
				t.Errorf("Detach's function got %d bytes of %d", len(got), len(rest))
			}
		}, "", never},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "Detach" {
				skipWithLayer(t, needsDetach)
			}
			conns, closed := make(chan *loop.Conn, 1), make(chan result, 1)
			text := ""
			g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened:     func(c *loop.Conn) { c.Pause(); conns <- c },
					data:       func(_ *loop.Conn, b []byte) (int, error) { text += string(b); return len(b), nil },
					readClosed: func(*loop.Conn) { t.Error("ReadClosed was called after a reset") },
					closed:     func(_ *loop.Conn, why error) { closed <- result{text, why} },
				}
			})
			conn := receive(t, conns, "the connection")
			io.WriteString(c, rest)
			c.SetLinger(0)
			c.Close()
			receive(t, conn.Context().Done(), "the end of the context")
			for end := time.Now().Add(testTimeout); stats(g).UnreadBytes < len(rest) && time.Now().Before(end); {
				runtime.Gosched()
			}
			x.act(t, g, conn)
			if x.want == never {
				return
			}
			r := receive(t, closed, "Closed")
			if r.text != x.text {
				t.Errorf("Data got %d bytes, want %d", len(r.text), len(x.text))
			}
			if !errors.Is(r.why, x.want) {
				t.Errorf("Closed got %v, want %v", r.why, x.want)
			}
		})
	}
}

func stats(g *loop.Group) loop.LoopStats { return g.Stats().Loops[0] }

// A handler that left bytes because it could not answer, and waits for Drained, gets them when
// sending fails.
func TestL3bDrainedWhileFailing(t *testing.T) {
	drained, closed := make(chan bool, 10), make(chan error, 1)
	got := ""
	_, c := serve(t, loop.Config{Loops: 1, HighWatermarkBytes: 64 << 10, LowWatermarkBytes: 1 << 10}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				if got == "" {
					got = string(b[:1])
					c.Write(make([]byte, 32<<20))
					return 1, c.Pause() // until Drained
				}
				got += string(b)
				return len(b), nil
			},
			drained: func(c *loop.Conn) { drained <- true; c.Resume() },
			closed:  func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	io.WriteString(c, "hello")
	io.ReadFull(c, make([]byte, 1000))
	c.Close() // with unread bytes: the system resets the connection
	receive(t, drained, "Drained")
	if why := receive(t, closed, "Closed"); !isReset(why) || got != "hello" {
		t.Errorf("Data got %q, Closed got %v, want hello and a reset", got, why)
	}
}

// As soon as sending fails, done of WriteOwned is called once, with the error: even while the
// handler is paused with unread bytes.
func TestL3bOwnedIsReleasedWhileFailing(t *testing.T) {
	conns, done, closed := make(chan *loop.Conn, 1), make(chan error, 10), make(chan error, 1)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				c.Pause()
				c.WriteOwned(make([]byte, 32<<20), func(err error) { done <- err })
				c.WriteOwned(make([]byte, 100), func(err error) { done <- err })
				conns <- c
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	conn := receive(t, conns, "the connection")
	io.WriteString(c, "hello")
	io.ReadFull(c, make([]byte, 1000))
	c.Close() // with unread bytes: the system resets the connection
	for range 2 {
		if err := receive(t, done, "done"); !isReset(err) {
			t.Errorf("done got %v, want a reset", err)
		}
	}
	if n := conn.Unsent(); n != 0 {
		t.Errorf("Unsent() = %d after the failure, want 0", n)
	}
	if len(closed) > 0 {
		t.Errorf("Closed(%v) was called while the handler is paused with unread bytes", <-closed)
	}
	conn.Resume()
	receive(t, closed, "Closed")
	if len(done) > 0 {
		t.Error("done was called a third time")
	}
}

// DetachStream waits for everything to be sent, which fails: its function gets the unread bytes
// and the error.
func TestL3bDetachFails(t *testing.T) {
	skipWithLayer(t, needsDetach)
	type result struct {
		unread string
		err    error
	}
	conns, results := make(chan *loop.Conn, 1), make(chan result, 1)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write(make([]byte, 32<<20))
				c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
					if s != nil {
						s.Close()
					}
					results <- result{string(unread), err}
				})
				conns <- c
				return 1, nil
			},
		}
	})
	io.WriteString(c, "hello")
	waitTurns(t, receive(t, conns, "Data"))
	c.SetLinger(0)
	c.Close()
	if r := receive(t, results, "Detach's function"); r.unread != "ello" || !isReset(r.err) {
		t.Errorf("Detach's function got %q, %v, want ello and a reset", r.unread, r.err)
	}
}

// A failed connection is read to its end even if that takes longer than LingerTimeout, because
// the budget is small and the handler slow.
func TestL3bFailedConnectionIsReadBeyondLingerTimeout(t *testing.T) {
	simulated(t, testFailedConnectionIsReadBeyondLingerTimeout)
}

func testFailedConnectionIsReadBeyondLingerTimeout(t *testing.T) {
	const sent, budget, linger = 2000, 10, 20 * time.Millisecond
	reset, closed := make(chan bool), make(chan error, 1)
	got := 0
	config := loop.Config{Loops: 1, TurnBudgetBytes: budget, LingerTimeout: linger, SlowCallback: -1}
	ln, err := group(t, config).Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("the client leaves this unread")) },
			data: func(c *loop.Conn, b []byte) (int, error) {
				if got == 0 {
					<-reset
					c.Write([]byte("this is never delivered"))
				}
				got += len(b)
				time.Sleep(linger * 4 / (sent / budget)) // slow: all of it takes four times LingerTimeout
				return len(b), nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialNet(t, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.Write(make([]byte, sent))
	c.Close() // with bytes unread: a reset
	close(reset)
	if why := receive(t, closed, "Closed"); !isReset(why) {
		t.Errorf("Closed got %v, want a reset", why)
	}
	if got != sent {
		t.Errorf("Data got %d bytes, want %d", got, sent)
	}
}
