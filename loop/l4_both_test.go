package loop_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
)

// Both ends are loops' own, and each writes more than the other takes before it reads.
func TestL4BothEndsWriteFirst(t *testing.T) {
	const total = 32 << 20
	for _, network := range []string{"tcp", "unix"} {
		for _, way := range []string{"in one go", "by Drained"} {
			t.Run(network+" "+way, func(t *testing.T) {
				address := "127.0.0.1:0"
				if network == "unix" {
					skipOnWine(t, "it has no Unix sockets")
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
					if got := receive(t, closed, "the end of a stream"); got != total {
						t.Errorf("%d bytes of %d came", got, total)
					}
				}
			})
		}
	}
}

// An accepted connection stops reading above the mark, a dialed one reads on, and
// SetBackpressure has it the other way, also while it is stopped.
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
		t.Fatal("it reads above the high watermark")
	}
	if err := conn.SetBackpressure(false); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, got, "what was not read"); s != "one" {
		t.Errorf("%q came", s)
	}
	if err := conn.SetBackpressure(true); err != nil {
		t.Fatal(err)
	}
	waitTurns(t, conn)
	c.Write([]byte("two"))
	waitTurns(t, conn)
	if len(got) > 0 {
		t.Error("it reads above the high watermark, with back-pressure on again")
	}
	conn.Abort()
	receive(t, conn.Context().Done(), "the end")
	if err := conn.SetBackpressure(true); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("of a connection that is closed: %v", err)
	}
}

// A connection that stands still because of its back-pressure is counted, and logged with
// the remedy, once.
func TestL4StalledIsVisible(t *testing.T) {
	var log lockedBuffer
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
	await := func(n int) {
		t.Helper()
		for end := time.Now().Add(testTimeout); stats(g).Stalled != n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections stand still, want %d", stats(g).Stalled, n)
			}
		}
	}
	await(2)
	if text := log.String(); strings.Count(text, "SetBackpressure") != 1 {
		t.Errorf("the log says %q", text)
	}
	go io.Copy(io.Discard, a) // it takes what is sent
	await(1)
	first, second := receive(t, conns, "a connection"), receive(t, conns, "the other")
	first.SetBackpressure(false)
	second.SetBackpressure(false)
	await(0)
	_ = b
}

// A client above the high watermark reads, slowly, and sends a frame now and then. The read
// deadline, which each frame renews, does not end it: its frames are not read.
func TestL4ReadDeadlineStandsStill(t *testing.T) {
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
		time.Sleep(limit / 10) // what the peer does; nothing waits for it
	}
	if len(closed) > 0 {
		t.Fatalf("Closed(%v)", <-closed)
	}
	go io.Copy(io.Discard, c)
	receive(t, frames, "the frames, once it reads")
	// And then it goes on.
	if why := receive(t, closed, "the read deadline"); !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("the reason is %v", why)
	}
}

// A paused connection is not idle because of that, and one that is stopped by back-pressure is
// not while its peer sends or takes something.
func TestL6IdleWhileNothingIsRead(t *testing.T) {
	const limit = 500 * time.Millisecond
	for what, stop := range map[string]func(c *loop.Conn){
		"paused":        func(c *loop.Conn) { c.Pause() },
		"back-pressure": func(c *loop.Conn) { c.Write(make([]byte, 32<<20)) },
	} {
		t.Run(what, func(t *testing.T) {
			if what == "back-pressure" && sys.OnWine() {
				t.Skip("skipped under Wine: it does not say what the peer has acknowledged")
			}
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
				time.Sleep(limit / 20) // what the peer does
			}
			if len(closed) > 0 {
				t.Fatalf("Closed(%v)", <-closed)
			}
			if what == "paused" {
				conn.Resume()
				receive(t, got, "what was sent meanwhile")
			}
			if why := receive(t, closed, "the end of one that is idle"); !errors.Is(why, loop.ErrTimeout) {
				t.Errorf("the reason is %v", why)
			}
		})
	}
}

// The write timeout ends a connection whose peer takes nothing, and no other.
func TestL6WriteTimeout(t *testing.T) {
	const limit = 150 * time.Millisecond
	open := func(t *testing.T, config loop.Config, opened func(c *loop.Conn)) (*net.TCPConn, chan error) {
		closed := make(chan error, 1)
		_, c := serve(t, config, func(*loop.Conn) loop.Handler {
			return &funcs{opened: opened, closed: func(_ *loop.Conn, why error) { closed <- why }}
		})
		return c, closed
	}
	fill := func(c *loop.Conn) { c.Write(make([]byte, 32<<20)) }
	for what, x := range map[string]struct {
		config loop.Config
		opened func(c *loop.Conn)
	}{
		"of the group":          {loop.Config{WriteTimeout: limit}, fill},
		"of one":                {loop.Config{}, func(c *loop.Conn) { c.SetWriteTimeout(limit); fill(c) }},
		"set when it is full":   {loop.Config{}, func(c *loop.Conn) { fill(c); c.SetWriteTimeout(limit) }},
		"without back-pressure": {loop.Config{WriteTimeout: limit, HighWatermark: 40 << 20}, fill},
	} {
		t.Run(what, func(t *testing.T) {
			_, closed := open(t, x.config, x.opened)
			why := receive(t, closed, "the write timeout")
			var timeout net.Error
			if !errors.Is(why, loop.ErrWriteTimeout) || !errors.As(why, &timeout) || !timeout.Timeout() {
				t.Errorf("the reason is %v", why)
			}
		})
	}
	t.Run("a slow reader", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("skipped: not every system tells how much the peer has acknowledged")
		}
		c, closed := open(t, loop.Config{WriteTimeout: 10 * limit}, fill)
		b := make([]byte, 16<<10)
		for start := time.Now(); time.Since(start) < 25*limit; {
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(limit / 20) // what the peer does
		}
		if len(closed) > 0 {
			t.Errorf("Closed(%v)", <-closed)
		}
	})
	t.Run("nothing is unsent", func(t *testing.T) {
		c, closed := open(t, loop.Config{WriteTimeout: limit}, func(c *loop.Conn) { c.Write([]byte("hello")) })
		io.ReadFull(c, make([]byte, 5))
		time.Sleep(4 * limit) // longer than the timeout could take
		if len(closed) > 0 {
			t.Errorf("Closed(%v)", <-closed)
		}
	})
	t.Run("taken away", func(t *testing.T) {
		c, closed := open(t, loop.Config{WriteTimeout: limit / 10}, func(c *loop.Conn) { fill(c); c.SetWriteTimeout(0) })
		time.Sleep(limit)
		if n, err := io.ReadFull(c, make([]byte, 32<<20)); err != nil {
			t.Errorf("%d bytes: %v, %v", n, err, closed)
		}
	})
}

// Lingering has an end also if the peer takes a byte now and then.
func TestL3MaxLinger(t *testing.T) {
	closed := make(chan error, 1)
	config := loop.Config{LingerTimeout: 200 * time.Millisecond, MaxLinger: 600 * time.Millisecond}
	_, c := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	b := make([]byte, 64<<10)
	for end := time.Now().Add(testTimeout); len(closed) == 0; {
		if time.Now().After(end) {
			t.Fatal("it lingers without an end")
		}
		if _, err := c.Read(b); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond) // what the peer does
	}
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("the reason is %v", why)
	}
}

// A write that can never be taken says so; one that can be is what Drained comes for.
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
			_, c := serve(t, loop.Config{MaxUnsent: most}, func(*loop.Conn) loop.Handler {
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
			if err := receive(t, errs, "the answer"); !errors.Is(err, loop.ErrTooLarge) || !errors.Is(err, loop.ErrBufferFull) {
				t.Errorf("a write that can never be taken: %v", err)
			}
			if err := receive(t, errs, "the answer"); err != nil {
				t.Errorf("a write of MaxUnsent: %v", err)
			}
			if err := receive(t, errs, "the answer"); !errors.Is(err, loop.ErrBufferFull) || errors.Is(err, loop.ErrTooLarge) {
				t.Errorf("a write that has to wait: %v", err)
			}
			_ = c
		})
	}
}
