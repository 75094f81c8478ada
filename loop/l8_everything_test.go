package loop_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Calls of Offload that fail because the pool is full do not change the count that the end of
// their loop depends on: Shutdown returns.
func TestL8OffloadFullDuringShutdown(t *testing.T) {
	for range 5 {
		g, err := newGroup(t, loop.Config{Loops: 2, OffloadWorkers: 1, OffloadQueue: 1, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		busy, other := g.Loops()[0], g.Loops()[1]
		release := make(chan bool)
		for range 2 {
			if err := loop.Offload(busy, func() (any, error) { <-release; return nil, nil }, nil); err != nil {
				t.Fatal(err)
			}
		}
		down := make(chan error, 1)
		var all sync.WaitGroup
		var full atomic.Int64
		for range 4 {
			all.Go(func() {
				for range 5000 {
					switch err := loop.Offload(other, func() (any, error) { return nil, nil }, nil); {
					case errors.Is(err, loop.ErrOffloadFull):
						full.Add(1)
					case err == nil:
						t.Error("Offload with a full pool succeeded, want ErrOffloadFull")
					}
				}
			})
		}
		for full.Load() == 0 {
			runtime.Gosched()
		}
		go func() { down <- g.Shutdown(context.Background()) }()
		all.Wait()
		close(release)
		if err := receive(t, down, "Shutdown"); err != nil {
			t.Error(err)
		}
	}
}

// All methods of a group run concurrently with its Shutdown: Shutdown and each call return,
// nothing is called afterwards, and no goroutine leaks. It takes some seconds, or minutes with
// POLLUX_TEST_LONG.
func TestL8EverythingDuringShutdown(t *testing.T) {
	long := 3 * time.Second
	if testkit.Long() {
		long = 2 * time.Minute
	}
	before := testkit.CountUsage()
	rounds := 0
	for end := time.Now().Add(long); time.Now().Before(end) && !t.Failed(); rounds++ {
		stressShutdown(t, uint64(rounds))
	}
	t.Logf("%d rounds", rounds)
	before.Check(t)
}

// A stressor calls all methods of a group until the group has shut down.
type stressor struct {
	t    *testing.T
	g    *loop.Group
	addr string
	stop chan bool
}

func stressShutdown(t *testing.T, seed uint64) {
	g, err := newGroup(t, loop.Config{
		Loops: 2, MaxConns: 64, OffloadWorkers: 2, OffloadQueue: 4, MaxQueuedFuncs: 1000, Logger: quiet(), LingerTimeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return closesAtShutdown{} })
	if err != nil {
		t.Fatal(err)
	}
	c := &stressor{t: t, g: g, addr: ln.Addr().String(), stop: make(chan bool)}
	var all sync.WaitGroup
	for i, f := range []func(*rand.Rand){
		c.dial, c.loopDial, c.client, c.listen, c.listenPacket, c.watch, c.offload, c.run, c.timer, c.stats, c.dial, c.watch,
	} {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for {
				select {
				case <-c.stop:
					return
				default:
					f(random)
					time.Sleep(50 * time.Microsecond) // yields the processor
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, 99))
	for range random.IntN(10) {
		pingOrRefused(t, c.addr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(20))*time.Millisecond)
	if seed%4 == 0 {
		ctx = context.Background()
	}
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(ctx) }()
	err = receive(t, down, "Shutdown")
	cancel()
	if cut := new(loop.ShutdownError); errors.As(err, &cut) && cut.Loops+cut.Offloaded > 0 {
		t.Errorf("Shutdown: got %v, want no loops or offloaded functions left", err)
	}
	c.checkAfterShutdown()
	close(c.stop)
	ended := make(chan bool)
	go func() { all.Wait(); close(ended) }()
	receive(t, ended, "the return of all calls")
	if n := g.Conns(); n != 0 {
		t.Errorf("%d connections are left after Shutdown, want 0", n)
	}
}

// pingOrRefused connects a client, and fails the test if it is neither served nor refused.
func pingOrRefused(t *testing.T, addr string) {
	c, err := dialNet(t, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); isTimeout(err) {
		t.Error("a client is neither served nor refused")
	}
}

// checkAfterShutdown checks that Run fails after Shutdown.
func (c *stressor) checkAfterShutdown() {
	for i, l := range c.g.Loops() {
		if err := l.Run(func() { c.t.Error("a function of Run was called after Shutdown") }); !errors.Is(err, loop.ErrClosed) {
			c.t.Errorf("loop %d: Run after Shutdown: got %v, want ErrClosed", i, err)
		}
	}
}

func (c *stressor) accept(*loop.Conn) loop.Handler { return closesAtShutdown{} }

func (c *stressor) dial(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
	defer cancel()
	conn, err := c.g.Dial(ctx, "tcp", c.addr, c.accept)
	if err != nil {
		return
	}
	conn.Write([]byte("hello"))
	if r.IntN(2) == 0 {
		loop.Offload(conn, func() (*loop.Conn, error) { return conn, nil }, func(conn *loop.Conn, _ error) {
			if _, err := conn.Write([]byte("answer")); err != nil && !errors.Is(err, loop.ErrClosed) {
				c.t.Error(err)
			}
		})
	}
	if r.IntN(2) == 0 {
		conn.Abort()
	} else {
		conn.Close()
	}
}

func (c *stressor) loopDial(r *rand.Rand) {
	l := c.g.Loops()[r.IntN(2)]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan bool)
	err := l.Dial(ctx, "tcp", c.addr, c.accept, func(conn *loop.Conn, err error) {
		if conn != nil {
			conn.Close()
		}
		close(done)
	})
	if r.IntN(2) == 0 {
		cancel()
	}
	if err == nil {
		receive(c.t, done, "the result of a dial")
	}
}

func (c *stressor) client(*rand.Rand) { pingOrRefused(c.t, c.addr) }

func (c *stressor) listen(r *rand.Rand) {
	ln, err := c.g.Listen("tcp", "127.0.0.1:0", c.accept)
	if err != nil {
		return
	}
	if r.IntN(2) == 0 {
		pingOrRefused(c.t, ln.Addr().String())
	}
	ln.Close()
}

func (c *stressor) listenPacket(r *rand.Rand) {
	pl, err := c.g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoThreeWays{} })
	if err == nil && r.IntN(4) > 0 {
		pl.Close()
	}
}

// watch checks that the watch's function is not called after Stop's done.
func (c *stressor) watch(r *rand.Rand) {
	a, err := sock.ListenUDP(loopback, onNet(c.t)...)
	if err != nil {
		return
	}
	defer a.Close()
	var calls int // the race detector reports a call that comes too late
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(3000))*time.Microsecond)
	defer cancel()
	w, err := c.g.Loops()[r.IntN(2)].Watch(ctx, a, pollux.Readable, func(pollux.Event) { calls++ })
	if err != nil {
		return
	}
	b, err := sock.ListenUDP(loopback, onNet(c.t)...)
	if err == nil {
		b.WriteTo([]byte("x"), a.LocalAddr())
		b.Close()
	}
	done := make(chan bool)
	w.Stop(func() { calls++; close(done) })
	receive(c.t, done, "Stop's done")
	calls++
}

func (c *stressor) offload(r *rand.Rand) {
	l := c.g.Loops()[r.IntN(2)]
	loop.Offload(l, func() (int, error) { runtime.Gosched(); return 1, nil }, func(int, error) {
		if r := l.Run(func() {}); r != nil && !errors.Is(r, loop.ErrClosed) && !errors.Is(r, loop.ErrQueueFull) {
			c.t.Error(r)
		}
	})
}

func (c *stressor) run(r *rand.Rand) {
	l := c.g.Loops()[r.IntN(2)]
	dials := r.IntN(10) == 0
	l.Run(func() {
		if dials {
			l.Dial(context.Background(), "tcp", c.addr, c.accept, func(conn *loop.Conn, err error) {
				if conn != nil {
					conn.Close()
				}
			})
		}
	})
}

func (c *stressor) timer(r *rand.Rand) {
	l := c.g.Loops()[r.IntN(2)]
	tm := l.AfterFunc(time.Duration(r.IntN(1000))*time.Microsecond, func() {})
	if r.IntN(2) == 0 {
		tm.Reset(0)
	}
	runtime.Gosched()
	tm.Stop()
}

func (c *stressor) stats(*rand.Rand) { c.g.Stats() }
