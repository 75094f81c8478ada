package loop_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// listenFull listens with a full backlog: depending on the system, further connects hang or
// are refused.
func listenFull(t *testing.T) (*sock.TCPListener, string) {
	t.Helper()
	l, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t, sock.Backlog(1))...)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		s, err := sock.ConnectTCP(l.Addr(), onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
	}
	return l, l.Addr().String()
}

// Dials that succeed, are refused, time out or are canceled, at random: each has exactly one
// result, and no descriptor leaks.
func TestFaultDialsAtRandom(t *testing.T) {
	full, hanging := listenFull(t)
	defer full.Close()
	closed, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr().String()
	closed.Close()
	before := testkit.CountUsage()

	g, err := newGroup(t, loop.Config{Loops: 2, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	addrs := []string{ln.Addr().String(), refusing, hanging}
	dials := &randomDials{g: g, addrs: addrs}
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() { dials.run(t, seed) })
	}
	wg.Wait()
	checkLoopDials(t, g.Loops()[0], addrs)
	t.Logf("%d succeeded, %d failed, %d timed out", dials.succeeded.Load(), dials.failed.Load(), dials.timedOut.Load())
	if dials.succeeded.Load() == 0 || dials.failed.Load() == 0 || dials.timedOut.Load() == 0 {
		t.Log("one kind of result did not occur: the test covers less")
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if dials.handlers.Load() != dials.closed.Load() {
		t.Errorf("%d handlers were opened, Closed was called on %d", dials.handlers.Load(), dials.closed.Load())
	}
	before.Check(t)
}

// randomDials counts the results of dials with short random timeouts.
type randomDials struct {
	g     *loop.Group
	addrs []string

	succeeded, failed, timedOut atomic.Int64
	handlers, closed            atomic.Int64
}

func (d *randomDials) run(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(14, seed))
	for range 60 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(3000))*time.Microsecond)
		c, err := d.g.Dial(ctx, "tcp", d.addrs[random.IntN(len(d.addrs))], d.accept)
		cancel()
		d.count(t, c, err)
	}
}

func (d *randomDials) accept(*loop.Conn) loop.Handler {
	return &funcs{
		opened: func(*loop.Conn) { d.handlers.Add(1) }, // with a layer, one that has not connected has no handler
		closed: func(*loop.Conn, error) { d.closed.Add(1) },
	}
}

func (d *randomDials) count(t *testing.T, c *loop.Conn, err error) {
	switch {
	case err == nil && c == nil:
		t.Error("Dial returned neither a connection nor an error")
	case err == nil:
		d.succeeded.Add(1)
		c.Close()
	case c != nil:
		t.Errorf("Dial returned both a connection and %v", err)
	case errors.Is(err, context.DeadlineExceeded):
		d.timedOut.Add(1)
	default:
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("Dial: got %v, want a net.OpError", err)
		}
		d.failed.Add(1)
	}
}

// checkLoopDials checks that Loop.Dial reports each dial's result once, even if the connection
// is aborted in that callback.
func checkLoopDials(t *testing.T, l *loop.Loop, addrs []string) {
	t.Helper()
	const n = 100
	var calls [n]atomic.Int32
	var all sync.WaitGroup
	all.Add(n)
	l.Run(func() {
		for i := range n {
			err := l.Dial(context.Background(), "tcp", addrs[i%2], func(*loop.Conn) loop.Handler { return echo{} }, func(c *loop.Conn, err error) {
				if (c == nil) == (err == nil) {
					t.Errorf("the result of a dial is %v, %v, want a connection or an error", c, err)
				}
				if c != nil {
					c.Abort()
				}
				if calls[i].Add(1) == 1 {
					all.Done()
				}
			})
			if err != nil { // refused immediately: the function is not called
				calls[i].Add(1)
				all.Done()
			}
		}
	})
	done := make(chan bool)
	go func() { all.Wait(); close(done) }()
	receive(t, done, "the results of all dials")
	for i := range calls {
		if n := calls[i].Load(); n != 1 {
			t.Errorf("dial %d has %d results, want 1", i, n)
		}
	}
}
