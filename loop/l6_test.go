package loop_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

func TestL6Timers(t *testing.T) {
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

func TestL6IdleTimeout(t *testing.T) {
	closed := make(chan error, 1)
	begun := time.Now()
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.SetIdleTimeout(60 * time.Millisecond) },
			data:   func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	b := make([]byte, 1)
	last := begun
	for range 10 { // active for longer than the timeout
		time.Sleep(15 * time.Millisecond)
		now := time.Now()
		if _, err := c.Write(b); err != nil {
			t.Skipf("skipped: this machine is too busy to stay active: %v", err)
		}
		if _, err := c.Read(b); err == nil {
			last = now
		}
	}
	why := receive(t, closed, "the idle timeout")
	if !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("Closed got %v, want ErrTimeout", why)
	}
	if idle := time.Since(last); idle < 60*time.Millisecond {
		t.Errorf("closed after %v without activity, want at least 60 ms", idle)
	}
}

// The idle time begins with the last activity, not with the loop's turn that includes it, which
// may have begun long before.
func TestL6IdleTimeoutAfterALongTurn(t *testing.T) {
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
	if e := receive(t, ended, "the idle timeout"); e.closed.Sub(e.last) < idle {
		t.Errorf("closed after %v without activity, want at least %v", e.closed.Sub(e.last), idle)
	}
}

// Huge durations do not overflow.
func TestL6HugeTimes(t *testing.T) {
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
	time.Sleep(5 * time.Millisecond) // for a timer that fires wrongly
	ping(t, c)
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("Closed got %v, want nil", why)
	}
}

func TestL6ReadDeadline(t *testing.T) {
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
func TestIdleTimeoutWhileClosing(t *testing.T) {
	closed := make(chan error, 1)
	config := loop.Config{IdleTimeout: 30 * time.Millisecond, LingerTimeout: 300 * time.Millisecond}
	start := time.Now()
	serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("hello")); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	why := receive(t, closed, "Closed")
	if took := time.Since(start); why != nil || took < config.LingerTimeout {
		t.Errorf("Closed got %v after %v, want nil after at least %v", why, took, config.LingerTimeout)
	}
}

// Sending counts as activity for the idle timeout, too.
func TestIdleTimeoutWhileSending(t *testing.T) {
	const idle, every, times = time.Second, 50 * time.Millisecond, 30
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
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if n, err := io.ReadFull(c, make([]byte, times)); n != times {
		t.Errorf("the peer read %d of %d bytes, sent one every %v with an idle timeout of %v: %v", n, times, every, idle, err)
	}
	if why := receive(t, closed, "the idle timeout"); !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("Closed got %v, want ErrTimeout", why)
	}
}

// Opened may disable the idle timeout.
func TestL6IdleTimeoutDisabledInOpened(t *testing.T) {
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
	case <-time.After(300 * time.Millisecond):
	}
}

// A large write in a callback, which bypasses the queue, counts as activity for the idle timeout.
func TestL6LargeWriteIsActivity(t *testing.T) {
	closed := make(chan time.Time, 1)
	wrote := make(chan time.Time, 1)
	const idle = time.Second
	_, c := serve(t, loop.Config{IdleTimeout: idle}, func(*loop.Conn) loop.Handler {
		return &funcs{
			readClosed: func(c *loop.Conn) {
				before := time.Now()
				c.Write(make([]byte, 64<<10)) // the kernel takes it all
				wrote <- before
			},
			closed: func(_ *loop.Conn, why error) { closed <- time.Now() },
		}
	})
	time.Sleep(idle / 2)
	c.CloseWrite()
	n, err := io.ReadFull(c, make([]byte, 64<<10))
	if err != nil {
		t.Fatalf("the peer read %d bytes: %v", n, err)
	}
	w := receive(t, wrote, "ReadClosed")
	if d := receive(t, closed, "Closed").Sub(w); d < idle {
		t.Errorf("closed as idle %v after the write, want at least %v", d, idle)
	}
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
		t.Run(what, func(t *testing.T) {
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
				t.Skip("skipped: this machine is too busy: ", err)
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
