package loop_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Both ends are connections of loops, and each writes more than the kernel buffers before it
// reads.
func TestL4BothEndsWriteFirst(t *testing.T) {
	const total = 32 << 20
	for _, network := range []string{"tcp", "unix"} {
		for _, way := range []string{"in one go", "by Drained"} {
			t.Run(network+" "+way, func(t *testing.T) {
				address := "127.0.0.1:0"
				if network == "unix" {
					testkit.SkipOnWine(t, "it has no Unix sockets")
					address = filepath.Join(t.TempDir(), "s")
				}
				closed := make(chan int, 2)
				end := func(*loop.Conn) loop.Handler {
					got, written := 0, 0
					produce := func(c *loop.Conn) {
						for written < total && (way == "in one go" || c.Unsent() <= 256<<10) {
							if _, err := c.Write(make([]byte, 64<<10)); err != nil {
								t.Errorf("Write: %v", err)
								return
							}
							written += 64 << 10
						}
						if written == total {
							written++
							c.CloseWrite()
						}
					}
					return &funcs{
						opened:     produce,
						drained:    produce,
						data:       func(_ *loop.Conn, b []byte) (int, error) { got += len(b); return len(b), nil },
						readClosed: func(c *loop.Conn) { closed <- got },
					}
				}
				g := group(t, loop.Config{Loops: 2})
				ln, err := g.Listen(network, address, end)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := g.Dial(context.Background(), network, ln.Addr().String(), end); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if got := receive(t, closed, "ReadClosed"); got != total {
						t.Errorf("Data got %d bytes before ReadClosed, want %d", got, total)
					}
				}
			})
		}
	}
}

// An accepted connection stops reading above the high watermark; SetBackpressure(false) makes it
// read on, even while it is stopped.
func TestL4SetBackpressure(t *testing.T) {
	conns, got := make(chan *loop.Conn, 1), make(chan string, 10)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); conns <- c },
			data:   func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil },
		}
	})
	conn := receive(t, conns, "the connection")
	waitTurns(t, conn)
	c.Write([]byte("one"))
	waitTurns(t, conn)
	if len(got) > 0 {
		t.Fatal("the connection reads above the high watermark")
	}
	if err := conn.SetBackpressure(false); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, got, "the unread bytes"); s != "one" {
		t.Errorf("Data got %q, want one", s)
	}
	if err := conn.SetBackpressure(true); err != nil {
		t.Fatal(err)
	}
	waitTurns(t, conn)
	c.Write([]byte("two"))
	waitTurns(t, conn)
	if len(got) > 0 {
		t.Error("the connection reads above the high watermark after SetBackpressure(true)")
	}
	conn.Abort()
	receive(t, conn.Context().Done(), "the end of the context")
	if err := conn.SetBackpressure(true); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("SetBackpressure after Abort: got %v, want ErrClosed", err)
	}
}

// A connection that is stalled by back-pressure is counted, and logged once, with the remedy.
func TestL4StalledIsVisible(t *testing.T) {
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	g.SetStalledAfter(20 * time.Millisecond)
	conns := make(chan *loop.Conn, 10)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); conns <- c }}
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := dial(t, ln.Addr()), dial(t, ln.Addr())
	waitStalled := func(n int) {
		t.Helper()
		if !testkit.Eventually(func() bool { return stats(g).Stalled == n }) {
			t.Fatalf("Stats reports %d stalled connections, want %d", stats(g).Stalled, n)
		}
	}
	waitStalled(2)
	if text := log.String(); strings.Count(text, "SetBackpressure") != 1 {
		t.Errorf("the log is %q, want SetBackpressure in it once", text)
	}
	go io.Copy(io.Discard, a) // this peer reads
	waitStalled(1)
	first, second := receive(t, conns, "a connection"), receive(t, conns, "the other connection")
	first.SetBackpressure(false)
	second.SetBackpressure(false)
	waitStalled(0)
	_ = b
}

// A client above the high watermark reads slowly, and sends a frame from time to time. The read
// deadline, which each frame renews, is suspended while back-pressure prevents reading frames.
func TestL4ReadDeadlineIsSuspended(t *testing.T) { simulated(t, testReadDeadlineIsSuspended) }

func testReadDeadlineIsSuspended(t *testing.T) {
	const limit = 300 * time.Millisecond
	frames, closed := make(chan bool, 1000), make(chan error, 1)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				c.Write(make([]byte, 32<<20))
				c.SetReadDeadline(time.Now().Add(limit))
			},
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.SetReadDeadline(time.Now().Add(limit))
				frames <- true
				return len(b), nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	b := make([]byte, 64<<10)
	for start := time.Now(); time.Since(start) < 3*limit; {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("frame"))
		time.Sleep(limit / 10) // the pace of the peer, not a synchronization
	}
	if len(closed) > 0 {
		t.Fatalf("Closed(%v) was called while the deadline is suspended", <-closed)
	}
	go io.Copy(io.Discard, c)
	receive(t, frames, "the frames, once the loop reads again")
	// From then on, the deadline applies again.
	if why := receive(t, closed, "the read deadline"); !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("Closed got %v, want ErrTimeout", why)
	}
}

// A paused connection does not count as idle, nor does one that is stopped by back-pressure while
// its peer sends or reads something.
func TestL6IdleWhileReadingIsStopped(t *testing.T) {
	const limit = 500 * time.Millisecond
	for what, stop := range map[string]func(c *loop.Conn){
		"paused":        func(c *loop.Conn) { c.Pause() },
		"back-pressure": func(c *loop.Conn) { c.Write(make([]byte, 32<<20)) },
	} {
		testSimulated(t, what, func(t *testing.T) {
			conns, closed, got := make(chan *loop.Conn, 1), make(chan error, 1), make(chan bool, 100)
			_, c := serve(t, loop.Config{Loops: 1, IdleTimeout: limit}, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) { stop(c); conns <- c },
					data:   func(_ *loop.Conn, b []byte) (int, error) { got <- true; return len(b), nil },
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			conn := receive(t, conns, "the connection")
			for start := time.Now(); time.Since(start) < 5*limit; {
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(limit / 20) // the pace of the peer
			}
			if len(closed) > 0 {
				t.Fatalf("Closed(%v) was called while reading is stopped", <-closed)
			}
			if what == "paused" {
				conn.Resume()
				receive(t, got, "the bytes sent meanwhile")
			}
			if why := receive(t, closed, "the idle timeout"); !errors.Is(why, loop.ErrTimeout) {
				t.Errorf("Closed got %v, want ErrTimeout", why)
			}
		})
	}
}

// The write timeout ends a connection whose peer reads nothing, and no other.
func TestL6WriteTimeout(t *testing.T) {
	const limit = 150 * time.Millisecond
	fill := func(c *loop.Conn) { c.Write(make([]byte, 32<<20)) }
	for what, x := range map[string]struct {
		config loop.Config
		opened func(c *loop.Conn)
	}{
		"of the group":          {loop.Config{WriteTimeout: limit}, fill},
		"of one connection":     {loop.Config{}, func(c *loop.Conn) { c.SetWriteTimeout(limit); fill(c) }},
		"set when it is full":   {loop.Config{}, func(c *loop.Conn) { fill(c); c.SetWriteTimeout(limit) }},
		"without back-pressure": {loop.Config{WriteTimeout: limit, HighWatermarkBytes: 40 << 20}, fill},
	} {
		t.Run(what, func(t *testing.T) {
			onBothClocks(t, func(t *testing.T) {
				begun := time.Now()
				_, closed := openConn(t, x.config, x.opened)
				why := receive(t, closed, "the write timeout")
				var timeout net.Error
				if !errors.Is(why, loop.ErrWriteTimeout) || !errors.As(why, &timeout) || !timeout.Timeout() {
					t.Errorf("Closed got %v, want ErrWriteTimeout, a timeout", why)
				}
				if took := time.Since(begun); took < limit {
					t.Errorf("closed after %v, before the write timeout of %v", took, limit)
				}
			})
		})
	}
	config := loop.Config{WriteTimeout: limit}
	testSimulated(t, "a slow reader", func(t *testing.T) {
		c, closed := openConn(t, config, fill)
		b := make([]byte, 16<<10)
		for range 100 {
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(limit / 2)
		}
		if len(closed) > 0 {
			t.Errorf("Closed(%v) was called before the write timeout", <-closed)
		}
	})
	testSimulated(t, "nothing is unsent", func(t *testing.T) {
		c, closed := openConn(t, config, func(c *loop.Conn) { c.Write([]byte("hello")) })
		io.ReadFull(c, make([]byte, 5))
		time.Sleep(time.Hour)
		if len(closed) > 0 {
			t.Errorf("Closed(%v) was called before the write timeout", <-closed)
		}
	})
	testSimulated(t, "disabled", func(t *testing.T) {
		c, closed := openConn(t, config, func(c *loop.Conn) { fill(c); c.SetWriteTimeout(0) })
		c.SetDeadline(time.Time{})
		time.Sleep(time.Hour)
		if n, err := io.ReadFull(c, make([]byte, 32<<20)); err != nil {
			t.Errorf("the peer read %d bytes, then: %v; Closed was called %d times", n, err, len(closed))
		}
	})
}

// openConn returns a connection to a group of its own, and what Closed gets.
func openConn(t *testing.T, config loop.Config, opened func(c *loop.Conn)) (tcpConn, <-chan error) {
	t.Helper()
	closed := make(chan error, 1)
	_, c := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{opened: opened, closed: func(_ *loop.Conn, why error) { closed <- why }}
	})
	return c, closed
}

// MaxLinger limits lingering even if the peer reads a little from time to time.
func TestL3MaxLinger(t *testing.T) { simulated(t, testMaxLinger) }

func testMaxLinger(t *testing.T) {
	config := loop.Config{LingerTimeout: 200 * time.Millisecond, MaxLinger: 600 * time.Millisecond}
	begun := time.Now()
	c, closed := openConn(t, config, func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); c.Close() })
	b := make([]byte, 64<<10)
	for len(closed) == 0 {
		if _, err := c.Read(b); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond) // the pace of the peer
	}
	if why := <-closed; !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("Closed got %v, want ErrLingerTimeout", why)
	}
	if took := time.Since(begun); took < config.MaxLinger || took > config.MaxLinger+20*time.Millisecond {
		t.Errorf("the connection lingered for %v, want %v", took, config.MaxLinger)
	}
}

// A write larger than MaxUnsentBytes fails with ErrTooLarge; one that may succeed after Drained fails
// with ErrBufferFull only.
func TestL3TooLarge(t *testing.T) {
	const most = 1 << 20
	for what, write := range map[string]func(c *loop.Conn, n int) (int, error){
		"Write": func(c *loop.Conn, n int) (int, error) { return c.Write(make([]byte, n)) },
		"Writev": func(c *loop.Conn, n int) (int, error) {
			return c.Writev([][]byte{make([]byte, n/2), make([]byte, n-n/2)})
		},
		"WriteOwned": func(c *loop.Conn, n int) (int, error) {
			return c.WriteOwned(make([]byte, n), func(err error) {})
		},
	} {
		t.Run(what, func(t *testing.T) {
			errs := make(chan error, 3)
			_, c := serve(t, loop.Config{MaxUnsentBytes: most}, func(*loop.Conn) loop.Handler {
				return &funcs{opened: func(c *loop.Conn) {
					for _, n := range []int{most + 1, most} {
						_, err := write(c, n)
						errs <- err
					}
					for {
						if _, err := write(c, most); err != nil {
							errs <- err
							return
						}
					}
				}}
			})
			if err := receive(t, errs, "the result of a write"); !errors.Is(err, loop.ErrTooLarge) || !errors.Is(err, loop.ErrBufferFull) {
				t.Errorf("a write of MaxUnsentBytes+1: got %v, want ErrTooLarge and ErrBufferFull", err)
			}
			if err := receive(t, errs, "the result of a write"); err != nil {
				t.Errorf("a write of MaxUnsentBytes: got %v, want nil", err)
			}
			if err := receive(t, errs, "the result of a write"); !errors.Is(err, loop.ErrBufferFull) || errors.Is(err, loop.ErrTooLarge) {
				t.Errorf("a write while the queue is full: got %v, want ErrBufferFull only", err)
			}
			_ = c
		})
	}
}
