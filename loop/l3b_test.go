package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// isReset reports whether err is what a peer that is gone leaves: its reset, or that nobody is
// there to read.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// A client sends five lines and goes. The handler takes one at a time, pauses, and answers
// when it resumes, which fails: it gets all five all the same, and then the error.
func TestL3bUnreadIsDeliveredAfterAFailedWrite(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { testFiveLines(t, network) })
	}
}

func testFiveLines(t *testing.T, network string) {
	address := "127.0.0.1:0"
	if network == "unix" {
		skipOnWine(t, "it has no Unix sockets")
		address = filepath.Join(t.TempDir(), "s")
	}
	lines, closed := make(chan string, 10), make(chan error, 1)
	gone := make(chan bool)
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
					<-gone
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
	c, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("a\nb\nc\nd\ne\n"))
	got := receive(t, lines, "the first line")
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
	close(gone)
	for len(got) < 5 {
		got += receive(t, lines, "the next line after "+got)
	}
	if got != "abcde" {
		t.Errorf("the lines %q came", got)
	}
	if why := receive(t, closed, "Closed"); !isReset(why) {
		t.Errorf("the reason is %v", why)
	}
	if len(lines) > 0 {
		t.Errorf("%q came, too", <-lines)
	}
}

// A client uploads, and the server answers early and closes: the client gets the answer, and
// then the error.
func TestL3bEarlyAnswer(t *testing.T) {
	for what, write := range map[string]func(c *loop.Conn){
		"Write":      func(c *loop.Conn) { c.Write(make([]byte, 16<<20)) },
		"WriteOwned": func(c *loop.Conn) { c.WriteOwned(make([]byte, 16<<20), nil) },
		"in pieces": func(c *loop.Conn) {
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
			ln, err := net.Listen("tcp", "127.0.0.1:0")
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
				c.Close() // with bytes unread: the system resets
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
			if a := receive(t, answer, "the answer"); a != "413" {
				t.Errorf("the answer is %q", a)
			}
			if why := receive(t, closed, "Closed"); !isReset(why) {
				t.Errorf("the reason is %v", why)
			}
		})
	}
}

// The peer half-closes, and resets later: that is reported, though nothing is written.
func TestL3bResetAfterTheEnd(t *testing.T) {
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
				t.Errorf("the reason is %v", why)
			}
		})
	}
}

// A reset in the callback, before CloseWrite, is not told as ENOTCONN.
func TestL3bCloseWriteAfterAReset(t *testing.T) {
	in, gone, closed := make(chan bool), make(chan bool), make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			readClosed: func(c *loop.Conn) {
				close(in)
				<-gone
				c.CloseWrite()
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.CloseWrite()
	receive(t, in, "ReadClosed")
	c.SetLinger(0)
	c.Close()
	close(gone)
	if why := receive(t, closed, "Closed"); !errors.Is(why, syscall.ECONNRESET) {
		t.Errorf("the reason is %v", why)
	}
}

// A reset while the connection is paused is reported soon: at once if nothing is unread, and
// else after that was delivered.
func TestL3bResetWhilePaused(t *testing.T) {
	for _, unread := range []int{0, 5, 60 << 10} {
		for _, by := range []string{"hand", "hand, in Opened", "the watermark"} {
			t.Run(fmt.Sprintf("by %s, %d bytes unread", by, unread), func(t *testing.T) {
				conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
				got := make(chan int, 100)
				config := loop.Config{Loops: 1, HighWatermark: 64 << 10, LowWatermark: 1 << 10, MaxUnread: 32 << 10}
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
					t.Errorf("the context's cause is %v", context.Cause(ctx))
				}
				if _, err := conn.Write([]byte("x")); !errors.Is(err, loop.ErrClosed) {
					t.Errorf("a write after the failure: %v", err)
				} else if len(closed) == 0 && !isReset(err) {
					t.Errorf("a write after the failure does not tell the cause: %v", err)
				}
				if unread > 0 && by != "the watermark" {
					waitTurns(t, conn)
					if len(got) > 0 || len(closed) > 0 {
						t.Fatalf("paused, and Data was called %d times, Closed %d times", len(got), len(closed))
					}
					conn.Resume()
				}
				for n := 0; n < unread; {
					n += receive(t, got, fmt.Sprintf("more than %d bytes of %d", n, unread))
				}
				if why := receive(t, closed, "Closed"); !isReset(why) {
					t.Errorf("the reason is %v", why)
				}
			})
		}
	}
}

// waitTurns waits until the connection's loop has done what was asked of it before.
func waitTurns(t *testing.T, c *loop.Conn) {
	t.Helper()
	for range 3 { // the last of it may have asked for more
		done := make(chan bool, 1)
		if err := c.Loop().Run(func() { done <- true }); err != nil {
			t.Fatal(err)
		}
		receive(t, done, "the loop's answer")
	}
}

// What a handler may do while it has unread bytes and the peer is gone.
func TestL3bWhileFailing(t *testing.T) {
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
			c.Resume() // of the handler below, which collects
		}, rest, syscall.ECONNRESET},
		"idle timeout": {func(_ *testing.T, _ *loop.Group, c *loop.Conn) { c.SetIdleTimeout(time.Millisecond) }, "", loop.ErrTimeout},
		"read deadline": {func(_ *testing.T, _ *loop.Group, c *loop.Conn) {
			c.SetReadDeadline(time.Now())
		}, "", loop.ErrTimeout},
		"Shutdown": {func(_ *testing.T, g *loop.Group, _ *loop.Conn) { g.Shutdown(canceledContext()) }, "", loop.ErrShutdown},
		"CloseWrite": {func(t *testing.T, _ *loop.Group, c *loop.Conn) {
			if err := c.CloseWrite(); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("CloseWrite: %v", err)
			}
			c.Resume()
		}, rest, syscall.ECONNRESET},
		"Detach": {func(t *testing.T, _ *loop.Group, c *loop.Conn) {
			unread := make(chan string, 1)
			c.DetachStream(func(s *sock.Stream, b []byte, err error) {
				if s != nil || !isReset(err) {
					t.Errorf("Detach's function got %v, %v", s, err)
				}
				unread <- string(b)
			})
			if got := receive(t, unread, "Detach's function"); got != rest {
				t.Errorf("Detach's function got %d bytes of %d", len(got), len(rest))
			}
		}, "", never},
	} {
		t.Run(what, func(t *testing.T) {
			conns, closed := make(chan *loop.Conn, 1), make(chan result, 1)
			text := ""
			g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened:     func(c *loop.Conn) { c.Pause(); conns <- c },
					data:       func(_ *loop.Conn, b []byte) (int, error) { text += string(b); return len(b), nil },
					readClosed: func(*loop.Conn) { t.Error("ReadClosed of a stream that was reset") },
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
				t.Errorf("%d bytes came, not %d", len(r.text), len(x.text))
			}
			if !errors.Is(r.why, x.want) {
				t.Errorf("the reason is %v, want %v", r.why, x.want)
			}
		})
	}
}

func stats(g *loop.Group) loop.LoopStats { return g.Stats().Loops[0] }

// A handler that left bytes because it could not answer, and waits for Drained, gets them.
func TestL3bDrainedWhileFailing(t *testing.T) {
	drained, closed := make(chan bool, 10), make(chan error, 1)
	got := ""
	_, c := serve(t, loop.Config{Loops: 1, HighWatermark: 64 << 10, LowWatermark: 1 << 10}, func(*loop.Conn) loop.Handler {
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
	c.Close() // with bytes unread: the system resets
	receive(t, drained, "Drained")
	if why := receive(t, closed, "Closed"); !isReset(why) || got != "hello" {
		t.Errorf("%q came, and Closed(%v)", got, why)
	}
}

// What was handed over to be sent is given back once, with the error, as soon as sending has
// failed: also while the handler is paused with bytes unread.
func TestL3bOwnedIsGivenBackWhileFailing(t *testing.T) {
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
	c.Close() // with bytes unread: the system resets
	for range 2 {
		if err := receive(t, done, "done"); !isReset(err) {
			t.Errorf("done got %v", err)
		}
	}
	if n := conn.Unsent(); n != 0 {
		t.Errorf("%d bytes are still to be sent", n)
	}
	if len(closed) > 0 {
		t.Errorf("Closed(%v), and the handler is paused with bytes unread", <-closed)
	}
	conn.Resume()
	receive(t, closed, "Closed")
	if len(done) > 0 {
		t.Error("done was called once more")
	}
}

// Detach waits for everything to be sent, which fails: its function gets what had been read, and
// the error.
func TestL3bDetachFails(t *testing.T) {
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
		t.Errorf("Detach's function got %q, %v", r.unread, r.err)
	}
}

// A connection that has failed is read to its end also if that takes longer than
// LingerTimeout: its budget is small, and its handler slow.
func TestL3bAFailedConnectionIsReadForAsLongAsSomethingComes(t *testing.T) {
	const sent, budget, linger = 2000, 10, 20 * time.Millisecond
	gone, closed := make(chan bool), make(chan error, 1)
	got := 0
	config := loop.Config{Loops: 1, ReadBudget: budget, LingerTimeout: linger, SlowCallback: -1}
	ln, err := group(t, config).Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("what the client leaves unread")) },
			data: func(c *loop.Conn, b []byte) (int, error) {
				if got == 0 {
					<-gone
					c.Write([]byte("nobody gets this"))
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
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.Write(make([]byte, sent))
	c.Close() // with bytes unread: a reset
	close(gone)
	if why := receive(t, closed, "Closed"); !isReset(why) {
		t.Errorf("the reason is %v", why)
	}
	if got != sent {
		t.Errorf("Data got %d bytes of %d", got, sent)
	}
}
