package loop_test

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Fault 3: slow clients, each of which sends a byte now and then and never a whole
// request: a healthy one does not notice, memory stays within bounds, and at their
// deadline, not before, they are culled.
func TestFaultSlowClients(t *testing.T) {
	n := 1000
	if conformance.Long() {
		n = 8000 // with both ends in one process, what descriptors there are by default
	}
	const limit, perConn = 3 * time.Second, 4 << 10
	var culled, early, wrong, opened atomic.Int64
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		var since time.Time
		return &funcs{
			opened: func(c *loop.Conn) {
				since = time.Now()
				c.SetReadDeadline(since.Add(limit))
				opened.Add(1)
			},
			data: func(*loop.Conn, []byte) (int, error) { return 0, nil }, // it waits for the rest
			closed: func(_ *loop.Conn, why error) {
				if !errors.Is(why, loop.ErrTimeout) {
					wrong.Add(1)
				}
				if time.Since(since) < limit {
					early.Add(1)
				}
				culled.Add(1)
			},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	healthy, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, healthy.Addr())
	p99 := func(meanwhile func(i int)) time.Duration {
		var took []time.Duration
		for i := range 500 {
			meanwhile(i)
			start := time.Now()
			ping(t, c)
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	baseline := min(p99(func(int) {}), p99(func(int) {}))

	heap := heapInUse()
	addr := netip.MustParseAddrPort(ln.Addr().String())
	var slow []*sock.TCPStream
	defer func() {
		for _, s := range slow {
			s.Close()
		}
	}()
	for i := range n {
		s, err := sock.ConnectTCP(addr)
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, s)
		for i%100 == 99 && opened.Load() < int64(i-50) {
			runtime.Gosched() // the backlog has its limit
		}
	}
	dribble := func(i int) {
		for j := i; j < n; j += 500 {
			slow[j].Write([]byte("x")) // some may be culled already
		}
	}
	under := min(p99(dribble), p99(dribble))
	grown := heapInUse() - heap
	t.Logf("p99 of a healthy client: %v alone, %v beside %d slow ones; %d bytes for each of them", baseline, under, n, grown/int64(n))
	// A quantum of the scheduler's is not the loop's doing.
	if under > 2*baseline+5*time.Millisecond {
		t.Errorf("p99 of a healthy client is %v beside %d slow ones, %v alone", under, n, baseline)
	}
	if grown > int64(n*perConn) && !raceEnabled {
		t.Errorf("%d slow clients take %d bytes, want %d or fewer for each", n, grown, perConn)
	}
	for end := time.Now().Add(patience); culled.Load() < int64(n); {
		if time.Now().After(end) {
			t.Fatalf("%d of %d were culled", culled.Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
	if early.Load() > 0 || wrong.Load() > 0 {
		t.Errorf("%d were culled early, %d for another reason than their deadline", early.Load(), wrong.Load())
	}
	ping(t, c)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
