package loop_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// neverAccepts listens with a backlog that is full: what connects waits, or is
// refused, as the system has it.
func neverAccepts(t *testing.T) (*sock.TCPListener, string) {
	t.Helper()
	l, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), sock.Backlog(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		s, err := sock.ConnectTCP(l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
	}
	return l, l.Addr().String()
}

// Fault 14: dials that succeed, are refused, time out or are cancelled, at random: one
// result each, and no descriptor is left.
func TestFaultDialsAtRandom(t *testing.T) {
	open := conformance.Sockets().OpenDescriptors
	full, waits := neverAccepts(t)
	defer full.Close()
	gone, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	gone.Close()
	runtime.GC()
	before := 0
	if open != nil {
		before = open()
	}

	g, err := loop.NewGroup(loop.Config{Loops: 2, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	addrs := []string{ln.Addr().String(), nobody, waits}
	var results [3]atomic.Int64 // succeeded, refused or the like, ended by their context
	var handlers, closed atomic.Int64
	accept := func(*loop.Conn) loop.Handler {
		handlers.Add(1)
		return &funcs{closed: func(*loop.Conn, error) { closed.Add(1) }}
	}
	const workers, dials = 8, 60
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(14, uint64(w)))
			for range dials {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(3000))*time.Microsecond)
				c, err := g.Dial(ctx, "tcp", addrs[random.IntN(3)], accept)
				switch {
				case err == nil:
					results[0].Add(1)
					if c == nil {
						t.Error("Dial returned neither a connection nor an error")
					} else {
						c.Close()
					}
				case c != nil:
					t.Errorf("Dial returned a connection and %v", err)
				case errors.Is(err, context.DeadlineExceeded):
					results[2].Add(1)
				default:
					var op *net.OpError
					if !errors.As(err, &op) {
						t.Errorf("Dial: %v", err)
					}
					results[1].Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	dialsOnce(t, g.Loops()[0], addrs)
	t.Logf("%d succeeded, %d failed, %d ended by their context", results[0].Load(), results[1].Load(), results[2].Load())
	for i := range results {
		if results[i].Load() == 0 {
			t.Logf("none of kind %d: the test saw less", i)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if handlers.Load() != closed.Load() {
		t.Errorf("%d handlers were made, %d got Closed", handlers.Load(), closed.Load())
	}
	if open == nil {
		t.Log("descriptors are not counted: the system cannot tell how many are open")
		return
	}
	for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		now := open()
		if now <= before {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, %d were before", now, before)
		}
	}
}

// dialsOnce: Loop.Dial tells each of its dials once, also those that are aborted.
func dialsOnce(t *testing.T, l *loop.Loop, addrs []string) {
	t.Helper()
	const n = 100
	var told [n]atomic.Int32
	var all sync.WaitGroup
	all.Add(n)
	l.Run(func() {
		for i := range n {
			err := l.Dial("tcp", addrs[i%2], func(*loop.Conn) loop.Handler { return echo{} }, func(c *loop.Conn, err error) {
				if (c == nil) == (err == nil) {
					t.Errorf("told %v and %v", c, err)
				}
				if c != nil {
					c.Abort()
				}
				if told[i].Add(1) == 1 {
					all.Done()
				}
			})
			if err != nil { // the system refuses at once: no result comes later
				told[i].Add(1)
				all.Done()
			}
		}
	})
	done := make(chan bool)
	go func() { all.Wait(); close(done) }()
	receive(t, done, "the results of all dials")
	for i := range told {
		if n := told[i].Load(); n != 1 {
			t.Errorf("dial %d was told %d times", i, n)
		}
	}
}
