package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// L1: the order of the callbacks, and the reason passed to Closed.
func TestL1Callbacks(t *testing.T) {
	log := make(chan string, 16)
	h := func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(*loop.Conn) { log <- "opened" },
			data: func(_ *loop.Conn, b []byte) (int, error) {
				log <- "data " + string(b)
				return len(b), nil
			},
			closed: func(_ *loop.Conn, why error) { log <- fmt.Sprint("closed ", why) },
		}
	}
	_, c := serve(t, loop.Config{}, h)
	if got := receive(t, log, "Opened"); got != "opened" {
		t.Fatalf("the first callback is %q, want opened", got)
	}
	c.Write([]byte("x"))
	if got := receive(t, log, "Data"); got != "data x" {
		t.Fatalf("the second callback is %q, want data x", got)
	}
	c.Close()
	if got := receive(t, log, "Closed"); got != "closed <nil>" {
		t.Fatalf("the last callback is %q, want closed <nil>", got)
	}
	select {
	case more := <-log:
		t.Errorf("callback %q after Closed", more)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestL1PanicClosesThatConnectionOnly(t *testing.T) {
	for _, where := range []string{"accept", "opened", "data", "closed"} {
		t.Run(where, func(t *testing.T) {
			why := make(chan error, 16)
			h := func(*loop.Conn) loop.Handler {
				if where == "accept" {
					panic("boom")
				}
				return &funcs{
					opened: func(*loop.Conn) {
						if where == "opened" {
							panic("boom")
						}
					},
					data: func(c *loop.Conn, b []byte) (int, error) {
						if where == "data" && string(b) == "bad" {
							panic("boom")
						}
						return c.Write(b)
					},
					closed: func(_ *loop.Conn, err error) {
						why <- err
						if where == "closed" {
							panic("boom")
						}
					},
				}
			}
			g, c := serve(t, loop.Config{Loops: 1, LingerTimeout: 100 * time.Millisecond, Logger: quiet()}, h)
			c.Write([]byte("bad"))
			if where == "closed" {
				c.Close()
			} else {
				c.Read(make([]byte, 1)) // EOF or an error
			}
			if where != "accept" {
				err := receive(t, why, "Closed")
				var p *loop.PanicError
				if (where != "closed") != (errors.As(err, &p) && p.Value == "boom") {
					t.Errorf("Closed got %v, want a PanicError only for a panic before", err)
				}
			}
			alive := make(chan bool, 1)
			g.Loops()[0].Run(func() { alive <- true })
			receive(t, alive, "the loop's next turn")
		})
	}
}

// A panic is the reason even if the callback has called Close before.
func TestL1PanicAfterClose(t *testing.T) {
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{Logger: quiet()}, func(*loop.Conn) loop.Handler {
		return &funcs{
			readClosed: func(c *loop.Conn) { c.Close(); panic("at the end") },
			closed:     func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.CloseWrite()
	var p *loop.PanicError
	if why := receive(t, closed, "Closed"); !errors.As(why, &p) {
		t.Errorf("Closed got %v, want a PanicError", why)
	}
}

// The bytes that a callback writes are sent when it returns, which may fail with a reset: the
// callback's own error came first, and is the reason.
func TestL1FailureOfACallbackThatWrote(t *testing.T) {
	failed := errors.New("no")
	for _, how := range []string{"Opened panics", "Data panics", "Data fails"} {
		t.Run(how, func(t *testing.T) {
			peers, closed := make(chan tcpConn, 1), make(chan error, 1)
			g := group(t, loop.Config{Logger: quiet()})
			act := func(c *loop.Conn) {
				peer := <-peers
				reset(peer)
				c.Write([]byte("x"))
			}
			ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) {
						if how == "Opened panics" {
							act(c)
							panic(failed)
						}
					},
					data: func(c *loop.Conn, b []byte) (int, error) {
						act(c)
						if how == "Data panics" {
							panic(failed)
						}
						return len(b), failed
					},
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			peer := dial(t, ln.Addr())
			peer.Write([]byte("hello"))
			peers <- peer
			why := receive(t, closed, "Closed")
			if p := (*loop.PanicError)(nil); !errors.Is(why, failed) && !errors.As(why, &p) {
				t.Errorf("Closed got %v, want the callback's error", why)
			}
		})
	}
}

// Closed is called on the handler that was set last, however soon the connection ends.
func TestL1SetHandlerAndTheEnd(t *testing.T) {
	for _, how := range []string{"abort", "fails", "detach"} {
		t.Run(how, func(t *testing.T) {
			if how == "detach" {
				skipWithLayer(t, needsDetach)
			}
			closed, begun, cut := make(chan string, 2), make(chan bool, 1), make(chan bool)
			_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
				return &funcs{
					data: func(c *loop.Conn, b []byte) (int, error) {
						begun <- true
						c.SetHandler(&funcs{closed: func(*loop.Conn, error) { closed <- "the new one" }})
						switch how {
						case "abort":
							c.Abort()
						case "fails":
							<-cut
							c.Write([]byte("x"))
						case "detach":
							c.DetachStream(func(s *sock.Stream, _ []byte, err error) {
								if err == nil {
									s.Close()
								}
							})
						}
						return len(b), nil
					},
					closed: func(_ *loop.Conn, why error) { closed <- "the old one" },
				}
			})
			c.Write([]byte("hello"))
			receive(t, begun, "Data") // on Wine, a connection that is reset before is not accepted
			if how == "fails" {
				reset(c)
				close(cut)
			}
			if h := receive(t, closed, "Closed"); h != "the new one" {
				t.Errorf("Closed was called on %s, want the new one", h)
			}
		})
	}
}

// A panic after Abort: the connection is reset, and the panic is the reason.
func TestL1PanicAfterAbort(t *testing.T) {
	for _, where := range []string{"Opened", "Data"} {
		closed := make(chan error, 1)
		abort := func(c *loop.Conn, here string) {
			if here == where {
				c.Abort()
				panic("oh")
			}
		}
		g := group(t, loop.Config{Loops: 1, Logger: quiet()})
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
			return &funcs{
				opened: func(c *loop.Conn) { abort(c, "Opened") },
				data:   func(c *loop.Conn, b []byte) (int, error) { abort(c, "Data"); return len(b), nil },
				closed: func(_ *loop.Conn, why error) { closed <- why },
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialNet(t, "tcp", ln.Addr().String()) // which may be reset itself
		if err == nil {
			if _, err = c.Write([]byte("x")); err == nil { // the reset is reported once
				_, err = c.Read(make([]byte, 1))
			}
			c.Close()
		}
		if err == nil || errors.Is(err, io.EOF) && !sys.OnWine() { // which may report a reset as EOF
			t.Errorf("%s: the peer got %v, want a reset", where, err)
		}
		var p *loop.PanicError
		if why := receive(t, closed, "Closed"); !errors.As(why, &p) {
			t.Errorf("%s: Closed got %v, want a PanicError", where, why)
		}
	}
}

// A callback that ends its goroutine, as FailNow of package testing does, ends its loop in good
// order: Closed is called for each connection, and Shutdown returns.
func TestL1Goexit(t *testing.T) {
	for _, where := range []string{"Opened", "Data", "Closed", "a function"} {
		t.Run(where, func(t *testing.T) {
			closed := make(chan error, 2)
			exitAt := func(here string) {
				if here == where {
					runtime.Goexit()
				}
			}
			g := group(t, loop.Config{Loops: 1, Logger: quiet()})
			opened, both := 0, make(chan bool)
			ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(*loop.Conn) {
						if opened++; opened == 2 {
							close(both)
							exitAt("Opened")
						}
					},
					data: func(c *loop.Conn, b []byte) (int, error) {
						exitAt("Data")
						c.Close()
						return len(b), nil
					},
					closed: func(_ *loop.Conn, why error) { closed <- why; exitAt("Closed") },
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			dial(t, ln.Addr())
			b := dial(t, ln.Addr())
			receive(t, both, "Opened of both")
			b.Write([]byte("hello"))
			b.CloseWrite()
			if where == "a function" {
				g.Loops()[0].Run(func() { exitAt(where) })
			}
			for range 2 {
				receive(t, closed, "Closed")
			}
			if err := g.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if n, stats := g.Conns(), g.Stats(); n != 0 || stats.Loops[0].Failed == nil {
				t.Errorf("%d connections are left and Stats.Failed is %v, want 0 and an error", n, stats.Loops[0].Failed)
			}
		})
	}
}
