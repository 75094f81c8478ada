package loop_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

func TestL6Timers(t *testing.T) { onBothClocks(t, testTimers) }

func testTimers(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	l := g.Loops()[0]
	start := time.Now()
	const n = 1000
	fired := make(chan time.Duration, n)
	for i := range n {
		d := time.Duration(i%50) * time.Millisecond
		l.AfterFunc(d, func() { fired <- time.Since(start) - d })
	}
	l.Run(func() { l.AfterFunc(5*time.Millisecond, func() { t.Error("a stopped timer fired") }).Stop() })
	moved := make(chan time.Duration, 2)
	m := l.AfterFunc(time.Hour, func() { moved <- time.Since(start) })
	m.Reset(30 * time.Millisecond)
	for range n {
		if late := receive(t, fired, "a timer"); late < 0 {
			t.Fatalf("a timer fired %v early", -late)
		}
	}
	if at := receive(t, moved, "a timer that was reset"); at < 30*time.Millisecond {
		t.Errorf("a timer that was reset to 30 ms fired after %v", at)
	}
	m.Reset(0)
	receive(t, moved, "a timer that was reset after it had fired")
}

func TestL6IdleTimeout(t *testing.T) { simulated(t, testIdleTimeout) }

func testIdleTimeout(t *testing.T) {
	const idle = time.Minute
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.SetIdleTimeout(idle) },
			data:   func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	b := make([]byte, 1)
	for range 10 { // active for longer than the timeout
		time.Sleep(idle - resolution)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	last := time.Now()
	if why := <-closed; !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("Closed got %v, want ErrTimeout", why)
	}
	checkTook(t, last, idle, "the idle timeout")
}

// The idle time begins with the last activity, not with the loop's turn that includes it, which
// may have begun long before.
func TestL6IdleTimeoutAfterALongTurn(t *testing.T) { simulated(t, testIdleTimeoutAfterALongTurn) }

func testIdleTimeoutAfterALongTurn(t *testing.T) {
	const idle, long, total = 150 * time.Millisecond, 100 * time.Millisecond, 1 << 20
	type end struct{ last, closed time.Time }
	ended := make(chan end, 1)
	var e end
	_, c := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.SetIdleTimeout(idle) },
			data: func(_ *loop.Conn, b []byte) (int, error) {
				e.last = time.Now()
				time.Sleep(long / 4) // a few of these in a turn
				return len(b), nil
			},
			closed: func(*loop.Conn, error) {
				e.closed = time.Now()
				ended <- e
			},
		}
	})
	if _, err := c.Write(make([]byte, total)); err != nil {
		t.Fatal(err)
	}
	e = <-ended
	if took := e.closed.Sub(e.last); took < idle || took > idle+resolution {
		t.Errorf("closed after %v without activity, want %v", took, idle)
	}
}

// Huge durations do not overflow.
func TestL6HugeTimes(t *testing.T) { simulated(t, testHugeTimes) }

func testHugeTimes(t *testing.T) {
	const huge = time.Duration(1<<63 - 1)
	closed := make(chan error, 1)
	g, c := serve(t, loop.Config{Loops: 1, IdleTimeout: huge, LingerTimeout: huge}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				c.SetIdleTimeout(huge)
				c.SetReadDeadline(time.Now().Add(huge))
			},
			data:   func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	g.Loops()[0].AfterFunc(huge, func() { t.Error("a timer of 292 years fired") })
	ping(t, c)
	time.Sleep(24 * time.Hour) // for a timer that fires wrongly
	ping(t, c)
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("Closed got %v, want nil", why)
	}
}

func TestL6ReadDeadline(t *testing.T) { onBothClocks(t, testReadDeadline) }

func testReadDeadline(t *testing.T) {
	closed := make(chan error, 1)
	start := time.Now()
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.SetReadDeadline(start.Add(40 * time.Millisecond)) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	why := receive(t, closed, "the read deadline")
	if took := time.Since(start); !errors.Is(why, loop.ErrTimeout) || took < 40*time.Millisecond {
		t.Errorf("closed after %v with %v, want ErrTimeout after at least 40ms", took, why)
	}
	_ = c
}

// The idle timeout applies to open connections, LingerTimeout to closing ones.
func TestIdleTimeoutWhileClosing(t *testing.T) { simulated(t, testIdleTimeoutWhileClosing) }

func testIdleTimeoutWhileClosing(t *testing.T) {
	closed := make(chan error, 1)
	config := loop.Config{IdleTimeout: 30 * time.Millisecond, LingerTimeout: 300 * time.Millisecond}
	start := time.Now()
	serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("hello")); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if why := <-closed; why != nil {
		t.Errorf("Closed got %v, want nil", why)
	}
	checkTook(t, start, config.LingerTimeout, "lingering")
}

// Sending counts as activity for the idle timeout, too.
func TestIdleTimeoutWhileSending(t *testing.T) { simulated(t, testIdleTimeoutWhileSending) }

func testIdleTimeoutWhileSending(t *testing.T) {
	const idle, every, times = time.Second, time.Second - 2*resolution, 30
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{IdleTimeout: idle}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				left := times
				var timer *loop.Timer
				timer = c.Loop().AfterFunc(0, func() {
					c.Write([]byte("x"))
					if left--; left > 0 {
						timer.Reset(every)
					}
				})
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if n, err := io.ReadFull(c, make([]byte, times)); n != times {
		t.Errorf("the peer read %d of %d bytes, sent one every %v with an idle timeout of %v: %v", n, times, every, idle, err)
	}
	last := time.Now()
	if why := <-closed; !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("Closed got %v, want ErrTimeout", why)
	}
	checkTook(t, last, idle, "the idle timeout")
}

// Opened may disable the idle timeout.
func TestL6IdleTimeoutDisabledInOpened(t *testing.T) { simulated(t, testIdleTimeoutDisabledInOpened) }

func testIdleTimeoutDisabledInOpened(t *testing.T) {
	closed := make(chan error, 1)
	_, _ = serve(t, loop.Config{IdleTimeout: 50 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.SetIdleTimeout(0) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	select {
	case why := <-closed:
		t.Errorf("Closed(%v) was called without an idle timeout", why)
	case <-time.After(time.Hour):
	}
}

// A large write in a callback, which bypasses the queue, counts as activity for the idle timeout.
func TestL6LargeWriteIsActivity(t *testing.T) { simulated(t, testLargeWriteIsActivity) }

func testLargeWriteIsActivity(t *testing.T) {
	closed := make(chan error, 1)
	wrote := make(chan time.Time, 1)
	const idle = time.Second
	_, c := serve(t, loop.Config{IdleTimeout: idle}, func(*loop.Conn) loop.Handler {
		return &funcs{
			readClosed: func(c *loop.Conn) {
				before := time.Now()
				c.Write(make([]byte, 64<<10)) // the kernel takes it all
				wrote <- before
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	time.Sleep(idle / 2)
	c.CloseWrite()
	n, err := io.ReadFull(c, make([]byte, 64<<10))
	if err != nil {
		t.Fatalf("the peer read %d bytes: %v", n, err)
	}
	w := receive(t, wrote, "ReadClosed")
	receive(t, closed, "Closed")
	checkTook(t, w, idle, "the idle timeout after the write")
}

// Timers fire in the order of their times, even within one tick.
func TestTimerOrder(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	l := g.Loops()[0]
	for _, d := range []time.Duration{0, 3 * time.Millisecond, 100 * time.Millisecond} {
		const n = 10
		fired := make(chan int, n)
		l.Run(func() {
			for i := range n {
				l.AfterFunc(d+time.Duration(i)*10*time.Microsecond, func() { fired <- i })
			}
		})
		for i := range n {
			if got := receive(t, fired, "a timer"); got != i {
				t.Fatalf("base delay %v: timer %d fired, want timer %d", d, got, i)
			}
		}
	}
}

// A deadline that a callback extends or removes in time does not expire, however long the
// callback runs afterwards.
func TestDeadlineChangedInTime(t *testing.T) {
	for what, x := range map[string]struct {
		set, change func(c *loop.Conn, d time.Duration) error
	}{
		"read removed":  {setRead, func(c *loop.Conn, _ time.Duration) error { return c.SetReadDeadline(time.Time{}) }},
		"read extended": {setRead, func(c *loop.Conn, _ time.Duration) error { return setRead(c, time.Hour) }},
		"idle removed":  {(*loop.Conn).SetIdleTimeout, func(c *loop.Conn, _ time.Duration) error { return c.SetIdleTimeout(0) }},
		"idle extended": {(*loop.Conn).SetIdleTimeout, func(c *loop.Conn, _ time.Duration) error { return c.SetIdleTimeout(time.Hour) }},
	} {
		testSimulated(t, what, func(t *testing.T) {
			const d = 50 * time.Millisecond
			conns, closed, done := make(chan *loop.Conn, 2), make(chan error, 2), make(chan error, 1)
			var c *loop.Conn
			g, _ := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) { conns <- c },
					data: func(_ *loop.Conn, b []byte) (int, error) { // of the other connection
						err := x.change(c, d)
						time.Sleep(2 * d)
						done <- err
						return len(b), nil
					},
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			c = receive(t, conns, "Opened")
			other := dial(t, c.LocalAddr())
			receive(t, conns, "Opened of the other")
			x.set(c, d)
			set := make(chan bool)
			g.Loops()[0].Run(func() { close(set) })
			receive(t, set, "a turn")
			other.Write([]byte("x"))
			if err := receive(t, done, "the change of the deadline"); err != nil {
				t.Fatal(err)
			}
			select {
			case why := <-closed:
				t.Errorf("Closed(%v) was called although the deadline was changed", why)
			case <-time.After(d):
			}
		})
	}
}

func setRead(c *loop.Conn, d time.Duration) error { return c.SetReadDeadline(time.Now().Add(d)) }
