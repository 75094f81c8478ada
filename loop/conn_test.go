package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

const patience = 20 * time.Second

// funcs is a handler made of functions.
type funcs struct {
	data       func(c *loop.Conn, b []byte) (int, error)
	opened     func(c *loop.Conn)
	readClosed func(c *loop.Conn)
	drained    func(c *loop.Conn)
	closed     func(c *loop.Conn, why error)
}

func (h *funcs) Data(c *loop.Conn, b []byte) (int, error) {
	if h.data == nil {
		return len(b), nil
	}
	return h.data(c, b)
}

func (h *funcs) Opened(c *loop.Conn) {
	if h.opened != nil {
		h.opened(c)
	}
}

func (h *funcs) ReadClosed(c *loop.Conn) {
	if h.readClosed != nil {
		h.readClosed(c)
		return
	}
	c.Close()
}

func (h *funcs) Drained(c *loop.Conn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h *funcs) Closed(c *loop.Conn, why error) {
	if h.closed != nil {
		h.closed(c, why)
	}
}

// serve starts a group with a listener whose connections h handles, and returns a
// plain connection to it.
func serve(t testing.TB, config loop.Config, h func(*loop.Conn) loop.Handler) (*loop.Group, *net.TCPConn) {
	t.Helper()
	g := group(t, config)
	ln, err := g.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	return g, dial(t, ln.Addr())
}

func dial(t testing.TB, a net.Addr) *net.TCPConn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		stacks := make([]byte, 1<<18)
		t.Fatalf("%s did not come within %v\n%s", what, patience, stacks[:runtime.Stack(stacks, true)])
		panic("unreachable")
	}
}

// L1: order of the callbacks, and their reasons.
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
		t.Fatalf("first %q", got)
	}
	c.Write([]byte("x"))
	if got := receive(t, log, "Data"); got != "data x" {
		t.Fatalf("then %q", got)
	}
	c.Close()
	if got := receive(t, log, "Closed"); got != "closed <nil>" {
		t.Fatalf("last %q", got)
	}
	select {
	case more := <-log:
		t.Errorf("after Closed: %q", more)
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
			g, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, h)
			c.Write([]byte("bad"))
			if where == "closed" {
				c.Close()
			} else {
				c.Read(make([]byte, 1)) // the end, one way or the other
			}
			if where != "accept" {
				err := receive(t, why, "Closed")
				var p *loop.PanicError
				if (where != "closed") != (errors.As(err, &p) && p.Value == "boom") {
					t.Errorf("the reason is %v", err)
				}
			}
			alive := make(chan bool, 1)
			g.Loops()[0].Run(func() { alive <- true })
			receive(t, alive, "the loop's next turn")
		})
	}
}

func TestL2AfterClose(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
	})
	s := receive(t, conns, "the connection")
	c.Close()
	receive(t, closed, "Closed")
	_, write := s.Write([]byte("x"))
	_, writev := s.Writev([][]byte{[]byte("x")})
	_, owned := s.WriteOwned([]byte("x"), func(error) { t.Error("done was called after WriteOwned failed") })
	for what, err := range map[string]error{
		"Write": write, "Writev": writev, "WriteOwned": owned, "Close": s.Close(), "CloseWrite": s.CloseWrite(),
		"Abort": s.Abort(), "Pause": s.Pause(), "Resume": s.Resume(), "SetHandler": s.SetHandler(echo{}),
		"SetIdleTimeout": s.SetIdleTimeout(1), "SetReadDeadline": s.SetReadDeadline(time.Now()),
		"Detach": s.Detach(func(net.Conn, []byte, error) {}),
	} {
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	if s.RemoteAddr().String() != c.LocalAddr().String() {
		t.Errorf("RemoteAddr = %v after the end, want %v", s.RemoteAddr(), c.LocalAddr())
	}
}

// Methods of one connection from many goroutines, while it is used and closed.
func TestL2MethodsFromEverywhere(t *testing.T) {
	g := group(t, loop.Config{})
	for range 30 {
		conns := make(chan *loop.Conn, 1)
		closed := make(chan error, 1)
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
			conns <- c
			return &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
		})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, ln.Addr())
		go func() {
			io.Copy(io.Discard, c)
			c.Close()
		}()
		s := receive(t, conns, "the connection")
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				b := make([]byte, 1000)
				for j := range 200 {
					switch (i + j) % 7 {
					case 0:
						s.Pause()
					case 1:
						s.Resume()
					case 2:
						s.SetIdleTimeout(time.Hour)
					case 3:
						s.RemoteAddr()
						s.Unsent()
					default:
						s.Write(b)
					}
				}
				if i == 0 {
					s.Close()
				}
			})
		}
		wg.Wait()
		receive(t, closed, "Closed")
		ln.Close()
	}
}

// Number 20 of the faults: every byte in order, then FIN, through every way to write.
func TestL3NothingIsLost(t *testing.T) {
	const total = 16 << 20
	ways := map[string]func(c *loop.Conn, b []byte) (int, error){
		"Write": func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
		"Writev": func(c *loop.Conn, b []byte) (int, error) {
			i, j := len(b)/3, len(b)/2
			return c.Writev([][]byte{b[:i], b[i:j], nil, b[j:]})
		},
		"WriteOwned": func(c *loop.Conn, b []byte) (int, error) {
			return c.WriteOwned(bytes.Clone(b), func(err error) {
				if err != nil {
					panic(err)
				}
			})
		},
	}
	ends := map[string]func(*loop.Conn){
		"Close":      func(c *loop.Conn) { c.Close() },
		"CloseWrite": func(c *loop.Conn) { c.CloseWrite() },
	}
	want := make([]byte, total)
	for i := range want {
		want[i] = byte(i>>8) ^ byte(i)
	}
	for way, write := range ways {
		for end, finish := range ends {
			for _, from := range []string{"the loop", "elsewhere"} {
				t.Run(way+" "+end+" from "+from, func(t *testing.T) {
					t.Parallel()
					send := func(c *loop.Conn) {
						sizes := rand.New(rand.NewPCG(1, uint64(len(way))))
						for sent := 0; sent < total; {
							n := min(1+sizes.IntN(1<<sizes.IntN(19)), total-sent)
							if _, err := write(c, want[sent:sent+n]); err != nil {
								t.Errorf("%s: %v", way, err)
								return
							}
							sent += n
						}
						finish(c)
					}
					_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
						return &funcs{opened: func(c *loop.Conn) {
							if from == "the loop" {
								send(c)
							} else {
								go send(c)
							}
						}}
					})
					checkStream(t, c, want)
				})
			}
		}
	}
}

// checkStream reads in odd sizes, with pauses at first, and compares.
func checkStream(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, 0, len(want))
	b := make([]byte, 77_777)
	for {
		if len(got) < 200_000 {
			time.Sleep(time.Millisecond) // a reader that stalls
		}
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came of %d, or in another order", len(got), len(want))
	}
}

func TestL3HardLimit(t *testing.T) {
	errs := make(chan error, 1)
	_, c := serve(t, loop.Config{MaxUnsent: 1 << 20, HighWatermark: 1 << 19}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) {
			b := make([]byte, 300<<10)
			for {
				n, err := c.Write(b)
				if err != nil {
					if n != 0 {
						err = fmt.Errorf("took %d of a write that it refused: %w", n, err)
					}
					errs <- err
					return
				}
			}
		}}
	})
	if err := receive(t, errs, "ErrBufferFull"); !errors.Is(err, loop.ErrBufferFull) || strings.Contains(err.Error(), "took") {
		t.Errorf("Write past the limit: %v", err)
	}
	_ = c
}

// Writes of one turn go out together: a reader that comes later sees them whole.
func TestL3WritesGoOutTogether(t *testing.T) {
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			for range 100 {
				c.Write([]byte("ten bytes!"))
			}
			return len(b), nil
		}}
	})
	b := make([]byte, 4096)
	for range 20 {
		c.Write([]byte("go"))
		if n, err := c.Read(b); n != 1000 || err != nil {
			t.Fatalf("Read = %d, %v, want the 1,000 bytes of one turn at once", n, err)
		}
	}
}

func TestL3CloseWithoutAReader(t *testing.T) {
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{LingerTimeout: 50 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if why := receive(t, closed, "the end of lingering"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("the reason is %v, want ErrLingerTimeout", why)
	}
	_ = c
}

// Who reads slowly, and much longer than LingerTimeout, gets everything.
func TestL3CloseWithASlowReader(t *testing.T) {
	const total = 24 << 20
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{LingerTimeout: 800 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	b := make([]byte, 256<<10)
	got := 0
	for {
		c.SetReadDeadline(time.Now().Add(patience))
		n, err := io.ReadFull(c, b)
		if got += n; err != nil {
			if got != total {
				t.Errorf("%d of %d bytes came, then: %v", got, total, err)
			}
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("Closed(%v)", why)
	}
}

// Who reads steadily, and so little that the system does not tell of room for longer than
// LingerTimeout, is not taken for one that reads nothing.
func TestL3CloseWithAVerySlowReader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: not every system tells how much the peer has acknowledged")
	}
	const total = 8 << 20
	_, c := serve(t, loop.Config{LingerTimeout: 600 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() }}
	})
	b := make([]byte, 16<<10)
	got := 0
	for end := time.Now().Add(2 * time.Second); got < total; {
		c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(b)
		if got += n; err != nil {
			t.Fatalf("%d of %d bytes came, then: %v", got, total, err)
		}
		if time.Now().Before(end) {
			time.Sleep(15 * time.Millisecond)
		}
	}
}

// What is cut off is reset, and both sides learn it, also if the peer has ended its side:
// a clean end would say that nothing is missing.
func TestL3CutOffIsNoEnd(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
	closed := make(chan error, 1)
	config := loop.Config{LingerTimeout: 50 * time.Millisecond, HighWatermark: 40 << 20} // so that the end is seen
	_, c := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(c *loop.Conn, b []byte) (int, error) { c.Write(make([]byte, 32<<20)); return len(b), nil },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("x"))
	c.CloseWrite()
	if why := receive(t, closed, "the end of lingering"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("the reason is %v, want ErrLingerTimeout", why)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
		t.Errorf("the peer read %d bytes, and then: %v", n, err)
	}
}

func TestL3AbortResets(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); c.Abort() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrAborted) {
		t.Errorf("the reason is %v, want ErrAborted", why)
	}
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the peer saw an orderly end")
	}
}

// L4: a producer that writes until the watermark, and again whenever it is told
// Drained, never has more waiting than the watermark and two writes, however slow the
// reader.
func TestL4Watermarks(t *testing.T) {
	const high, low, chunk, total = 128 << 10, 32 << 10, 8 << 10, 32 << 20
	var most, written, drained atomic.Int64
	produce := func(c *loop.Conn) {
		for c.Unsent() <= high && written.Load() < total {
			if _, err := c.Write(make([]byte, chunk)); err != nil {
				t.Errorf("Write: %v", err)
				return
			}
			written.Add(chunk)
			most.Store(max(most.Load(), int64(c.Unsent())))
		}
		if written.Load() == total {
			c.Close()
		}
	}
	_, c := serve(t, loop.Config{HighWatermark: high, LowWatermark: low}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: produce, drained: func(c *loop.Conn) { drained.Add(1); produce(c) }}
	})
	got, err := io.Copy(io.Discard, c)
	if err != nil || got != total {
		t.Fatalf("%d bytes of %d: %v", got, total, err)
	}
	if drained.Load() == 0 {
		t.Error("Drained was never called")
	}
	if most.Load() > high+2*chunk {
		t.Errorf("%d bytes waited at most, want %d or fewer", most.Load(), high+2*chunk)
	}
}

func TestL4ReadingStopsAboveTheWatermark(t *testing.T) {
	var got atomic.Int64
	_, c := serve(t, loop.Config{HighWatermark: 64 << 10, LowWatermark: 1 << 10, Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			got.Add(int64(len(b)))
			return c.Write(b)
		}}
	})
	// A peer that only writes: the echo must stop taking.
	b := make([]byte, 64<<10)
	c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent := 0
	for {
		n, err := c.Write(b)
		sent += n
		if err != nil {
			break
		}
	}
	if n := got.Load(); n == 0 || n > int64(sent) {
		t.Fatalf("%d of %d", n, sent)
	}
	c.SetDeadline(time.Now().Add(patience))
	c.CloseWrite()
	if n, err := io.Copy(io.Discard, c); n != int64(sent) || err != nil {
		t.Errorf("%d bytes came back of %d: %v", n, sent, err)
	}
}

func TestL4PauseAndResume(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	datas := make(chan string, 100)
	_, c := serve(t, loop.Config{}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			datas <- string(b)
			c.Pause()
			return 1, nil // one byte a time
		}}
	})
	s := receive(t, conns, "the connection")
	c.Write([]byte("abc"))
	for _, want := range []string{"abc", "bc", "c"} {
		if got := receive(t, datas, want); got != want {
			t.Fatalf("Data got %q, want %q", got, want)
		}
		select {
		case got := <-datas:
			t.Fatalf("Data got %q while paused", got)
		case <-time.After(10 * time.Millisecond):
		}
		s.Resume()
	}
}

// L5: a connection that always has more does not starve the others.
func TestL5Fairness(t *testing.T) {
	g, busy := serve(t, loop.Config{Loops: 1, ReadBudget: 64 << 10}, func(*loop.Conn) loop.Handler { return &funcs{data: spend} })
	go func() {
		b := make([]byte, 1<<20)
		for {
			if _, err := busy.Write(b); err != nil {
				return
			}
		}
	}()
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	b := make([]byte, 1)
	for range 200 {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	busy.Close()
}

// spend takes a while over what it gets, so that the sender is never behind.
func spend(_ *loop.Conn, b []byte) (int, error) {
	x := 0
	for i := range b {
		x += int(b[i]) * i
	}
	runtime.KeepAlive(x)
	return len(b), nil
}

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
	stopped := l.AfterFunc(20*time.Millisecond, func() { t.Error("a stopped timer fired") })
	stopped.Stop()
	moved := make(chan time.Duration, 2)
	m := l.AfterFunc(time.Hour, func() { moved <- time.Since(start) })
	m.Reset(30 * time.Millisecond)
	for range n {
		if late := receive(t, fired, "a timer"); late < 0 {
			t.Fatalf("a timer fired %v early", -late)
		}
	}
	if at := receive(t, moved, "a timer that was moved"); at < 30*time.Millisecond {
		t.Errorf("a timer that was moved to 30 ms fired at %v", at)
	}
	m.Reset(0)
	receive(t, moved, "a timer that was started again")
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
		if _, err := c.Write(b); err != nil {
			t.Skipf("this machine is too busy to stay active: %v", err)
		}
		last = time.Now()
		c.Read(b)
	}
	why := receive(t, closed, "the idle timeout")
	if !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("the reason is %v, want ErrTimeout", why)
	}
	if idle := time.Since(last); idle < 60*time.Millisecond {
		t.Errorf("closed after %v of silence, want 60 ms", idle)
	}
}

// The silence begins with the last activity, not with the turn of the loop in which that
// was, which may have taken long.
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
		t.Errorf("closed after %v of silence, want %v", e.closed.Sub(e.last), idle)
	}
}

// Times without an end do not come around to the beginning.
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
	g.Loops()[0].AfterFunc(huge, func() { t.Error("a timer without an end fired") })
	ping(t, c)
	time.Sleep(5 * time.Millisecond) // for what must not happen
	ping(t, c)
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("the reason is %v", why)
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
		t.Errorf("closed after %v because of %v", took, why)
	}
	_ = c
}

func TestL9Offload(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2, OffloadQueue: 2})
	l := g.Loops()[0]
	block := make(chan struct{})
	answers := make(chan any, 8)
	for range 4 {
		if err := l.Offload(func() any { <-block; return "done" }, func(a any) { answers <- a }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Offload(func() any { return nil }, nil); !errors.Is(err, loop.ErrOffloadFull) {
		t.Errorf("the fifth: %v, want ErrOffloadFull", err)
	}
	close(block)
	for range 4 {
		if a := receive(t, answers, "an answer"); a != "done" {
			t.Errorf("answer %v", a)
		}
	}
	if err := l.Offload(func() any { panic("boom") }, func(a any) { answers <- a }); err != nil {
		t.Fatal(err)
	}
	if p, ok := receive(t, answers, "the panic").(*loop.PanicError); !ok || p.Value != "boom" {
		t.Errorf("the answer of a panic is %v", p)
	}
}

func TestL10Detach(t *testing.T) {
	type result struct {
		c      net.Conn
		unread []byte
		err    error
	}
	got := make(chan result, 1)
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write([]byte("HTTP/1.1 101\r\n"))
				c.Detach(func(nc net.Conn, unread []byte, err error) { got <- result{nc, unread, err} })
				return 4, nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("GET rest"))
	r := receive(t, got, "the detached connection")
	if errors.Is(r.err, errors.ErrUnsupported) {
		t.Skipf("this system makes no net.Conn of a socket: %v", r.err)
	}
	if r.err != nil || string(r.unread) != "rest" {
		t.Fatalf("detached with %q, %v", r.unread, r.err)
	}
	defer r.c.Close()
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
		t.Errorf("the reason is %v", why)
	}
	b := make([]byte, 64)
	if n, err := io.ReadFull(c, b[:14]); err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	r.c.Write([]byte("plain"))
	if n, err := io.ReadFull(c, b[:5]); err != nil || string(b[:n]) != "plain" {
		t.Errorf("%q, %v", b[:n], err)
	}
	c.Write([]byte("and back"))
	r.c.SetDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(r.c, b[:8]); err != nil || string(b[:n]) != "and back" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// L10: the socket itself, with what was received and not consumed.
func TestL10DetachStream(t *testing.T) {
	type result struct {
		s      *sock.Stream
		unread []byte
		err    error
	}
	got := make(chan result, 1)
	closed := make(chan error, 1)
	g, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write([]byte("101"))
				return 4, c.DetachStream(func(s *sock.Stream, unread []byte, err error) { got <- result{s, unread, err} })
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("GET rest"))
	r := receive(t, got, "the detached stream")
	if r.err != nil || string(r.unread) != "rest" {
		t.Fatalf("detached with %q, %v", r.unread, r.err)
	}
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
		t.Errorf("the reason is %v", why)
	}
	b := make([]byte, 64)
	if n, err := io.ReadFull(c, b[:3]); err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	c.Write([]byte("hello"))
	ready := make(chan bool, 100)
	if _, err := g.Loops()[0].Watch(r.s, func(ev pollux.Event) { ready <- ev.Readable() }); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len("hello"); {
		k, err := r.s.Read(b[n:])
		if errors.Is(err, sock.ErrWouldBlock) {
			receive(t, ready, "news of the stream")
		} else if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if string(b[:5]) != "hello" {
		t.Errorf("%q", b[:5])
	}
	if _, err := r.s.Write([]byte("bye")); err != nil {
		t.Error(err)
	}
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(c); string(rest) != "bye" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// Whatever cuts a connection off that has something left to be sent resets it: at a clean
// end the peer would think that it has everything.
func TestCutOffIsAReset(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
	big := make([]byte, 32<<20)
	for what, x := range map[string]struct {
		config loop.Config
		cut    func(g *loop.Group, c *loop.Conn)
	}{
		"Shutdown": {cut: func(g *loop.Group, _ *loop.Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			go g.Shutdown(ctx)
		}},
		"the idle timeout": {config: loop.Config{IdleTimeout: 50 * time.Millisecond}},
		"the read deadline": {cut: func(_ *loop.Group, c *loop.Conn) {
			c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
			g, c := serve(t, x.config, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) { c.Write(big); conns <- c },
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			conn := receive(t, conns, "the connection")
			if x.cut != nil {
				x.cut(g, conn)
			}
			receive(t, closed, "Closed")
			c.SetReadDeadline(time.Now().Add(patience))
			if n, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
				t.Errorf("the peer read %d bytes, and then: %v", n, err)
			}
		})
	}
}

// The idle timeout is for open connections: LingerTimeout is for those that close.
func TestIdleTimeoutOfOneThatCloses(t *testing.T) {
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
		t.Errorf("Closed(%v) after %v, want nil after %v", why, took, config.LingerTimeout)
	}
}

type closesAtShutdown struct{ echo }

func (closesAtShutdown) Shutdown(c *loop.Conn) { c.Close() }

// Peers that have been sent everything and never end their side are no reason to wait, nor
// to complain.
func TestShutdownWithIdlePeers(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return closesAtShutdown{}
	})
	ping(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	if err := g.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer reads %d, %v", n, err)
	}
}

// Sending is activity, too, for the idle timeout.
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
	c.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(c, make([]byte, times)); n != times {
		t.Errorf("%d of %d bytes came, one every %v with an idle timeout of %v: %v", n, times, every, idle, err)
	}
	if why := receive(t, closed, "the idle timeout"); !errors.Is(why, loop.ErrTimeout) {
		t.Errorf("Closed(%v)", why)
	}
}

func TestShutdown(t *testing.T) {
	before := runtime.NumGoroutine()
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	b := make([]byte, 4)
	c.Write([]byte("ping"))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() { ended <- g.Shutdown(ctx) }()
	// What is there goes on; what is new is refused.
	refused := false
	for range 1000 {
		n, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			refused = true
			break
		}
		n.Close()
	}
	if !refused {
		t.Error("new connections are accepted during Shutdown")
	}
	c.Write([]byte("pong"))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "pong" {
		t.Errorf("%q, %v during Shutdown", b, err)
	}
	c.Close()
	if err := receive(t, ended, "Shutdown"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<18)
			t.Fatalf("goroutines are left:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

func TestShutdownClosesWhatIsLeft(t *testing.T) {
	closed := make(chan error, 1)
	opened := make(chan bool, 1)
	g, _ := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(*loop.Conn) { opened <- true },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	receive(t, opened, "Opened")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := g.Shutdown(ctx)
	if cut := new(loop.ShutdownError); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &cut) || cut.Conns != 1 {
		t.Errorf("Shutdown: %v", err)
	}
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrShutdown) {
		t.Errorf("the reason is %v", why)
	}
	if _, err := g.Listen("tcp", "127.0.0.1:0", nil); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Listen after Shutdown: %v", err)
	}
}

func TestDial(t *testing.T) {
	g := group(t, loop.Config{})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 4)
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil }}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	if s := receive(t, got, "the echo"); s != "hello" {
		t.Errorf("%q", s)
	}
	addr := ln.Addr().String()
	ln.Close()
	for range 100 {
		_, err = g.Dial(context.Background(), "tcp", addr, func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("Dial to nobody: %v", err)
	}
	if _, err := g.Dial(context.Background(), "tcp", "no.such.host:1", nil); err == nil {
		t.Error("a name was dialled")
	}
}
