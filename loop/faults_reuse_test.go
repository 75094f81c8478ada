package loop_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// While many descriptors are closed and reused, no connection gets events or bytes of another
// one. Each connection sends its own number repeatedly; both ends close, in every way, at random.
func TestFaultDescriptorReuseStorm(t *testing.T) {
	const workers = 8
	long := 700 * time.Millisecond
	if testkit.Long() {
		long = time.Minute
	}
	var stale, opened, closed atomic.Int64
	g := group(t, loop.Config{Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		var number uint64
		var ended bool
		return &funcs{
			opened: func(*loop.Conn) { opened.Add(1) },
			data: func(c *loop.Conn, b []byte) (int, error) {
				for used := 0; ; used += 8 {
					if len(b)-used < 8 {
						return used, nil
					}
					n := binary.LittleEndian.Uint64(b[used:])
					if number == 0 {
						number = n
					}
					if n != number || ended {
						stale.Add(1)
					}
					switch n % 8 {
					case 0:
						c.Abort()
					case 1:
						c.Close()
					default:
						c.Write(b[used : used+8])
					}
				}
			},
			closed: func(*loop.Conn, error) {
				if ended {
					stale.Add(1)
				}
				ended = true
				closed.Add(1)
			},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var numbers atomic.Uint64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(8, uint64(w)))
			for end := time.Now().Add(long); time.Now().Before(end); {
				number := numbers.Add(1)
				if err := echoNumber(t, ln.Addr(), number, random); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if !testkit.Eventually(func() bool { return closed.Load() >= opened.Load() && g.Conns() == 0 }) {
		t.Fatalf("Closed was called for %d of %d connections", closed.Load(), opened.Load())
	}
	t.Logf("%d connections", opened.Load())
	if stale.Load() > 0 {
		t.Errorf("%d callbacks delivered another connection's bytes, or came after Closed", stale.Load())
	}
}

// echoNumber sends number and reads its echo; it returns an error only if it gets another number.
func echoNumber(t testing.TB, addr net.Addr, number uint64, random *rand.Rand) error {
	c, err := dialNet(t, "tcp", addr.String())
	if err != nil {
		return nil // may happen under this load
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	request := binary.LittleEndian.AppendUint64(nil, number)
	answer := make([]byte, 8)
	for range random.IntN(4) {
		if _, err := c.Write(request); err != nil {
			return nil
		}
		if random.IntN(4) == 0 {
			break // the echo arrives at a closed socket
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			return nil
		}
		if n := binary.LittleEndian.Uint64(answer); n != number {
			return fmt.Errorf("a client got the number %d of another connection, want %d", n, number)
		}
	}
	if random.IntN(3) == 0 {
		c.(tcpConn).SetLinger(0)
	}
	return nil
}

// Shutdown with 64 goroutines in Dial and 64 in Shutdown: all return promptly, those in Dial
// with ErrClosed.
func TestFaultShutdownWithWaiters(t *testing.T) {
	const waiters, promptly, tries = 64, 500 * time.Millisecond, 20 // less than Shutdown waits for what is stuck
	best := time.Hour
	for range tries {
		if best = min(best, shutdownWithWaiters(t, waiters)); best < promptly {
			return
		}
	}
	t.Errorf("the last of %d waiters returned after %v at best in %d tries", waiters, best, tries)
}

// shutdownWithWaiters returns how long the last waiter takes to return: in Dial after the first call of
// Shutdown, and in Shutdown, which waits for a connection, after the end of its context.
func shutdownWithWaiters(t *testing.T, waiters int) time.Duration {
	full, addr := listenFull(t)
	defer full.Close()
	g, c := serve(t, loop.Config{Loops: 2, Logger: quiet()}, func(*loop.Conn) loop.Handler { return echo{} })
	ping(t, c)
	var dials, shutdowns sync.WaitGroup
	var dialed atomic.Int32
	for range waiters {
		dials.Go(func() {
			defer dialed.Add(1)
			_, err := g.Dial(context.Background(), "tcp", addr, func(*loop.Conn) loop.Handler {
				return &funcs{}
			})
			if err != nil && !errors.Is(err, loop.ErrClosed) && !errors.Is(err, loop.ErrShutdown) {
				t.Logf("Dial: %v", err) // some systems refuse instead of letting it hang
			}
		})
	}
	if !testkit.Eventually(func() bool { return g.Conns()+int(dialed.Load()) > waiters }) {
		t.Fatalf("%d connections, and %d calls of Dial have returned, want more than %d together", g.Conns(), dialed.Load(), waiters)
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	for range waiters {
		shutdowns.Go(func() { g.Shutdown(ctx) })
	}
	waitGroup(t, &dials, "the calls of Dial")
	took := time.Since(start)
	waitBlocked(t, "loop.(*Group).Shutdown", waiters)
	start = time.Now()
	cancel()
	waitGroup(t, &shutdowns, "the calls of Shutdown")
	return max(took, time.Since(start))
}

// waitGroup waits for all of g.
func waitGroup(t *testing.T, g *sync.WaitGroup, what string) {
	t.Helper()
	all := make(chan bool)
	go func() { g.Wait(); close(all) }()
	receive(t, all, what)
}
