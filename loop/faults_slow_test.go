package loop_test

import (
	"errors"
	"net"
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

// Slow clients, each of which sends a byte now and then and never a whole
// request: a healthy one does not notice, memory stays within bounds, and at their
// deadline, not before, they are culled.
func TestFaultSlowClients(t *testing.T) {
	n := 1000
	if conformance.Long() {
		n = 8000 // with both ends in one process, what descriptors there are by default
	}
	const perConn = 4 << 10
	cull := &culling{limit: 3 * time.Second}
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", cull.handler)
	if err != nil {
		t.Fatal(err)
	}
	healthy, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, healthy.Addr())
	alone := func(int) {}
	baseline := min(pingP99(t, c, alone), pingP99(t, c, alone))

	heap := heapInUse()
	slow := cull.connect(t, ln.Addr(), n)
	dribble := func(i int) {
		for j := i; j < n; j += pings {
			slow[j].Write([]byte("x")) // some may be culled already
		}
	}
	under := min(pingP99(t, c, dribble), pingP99(t, c, dribble))
	grown := heapInUse() - heap
	t.Logf("p99 of a healthy client: %v alone, %v beside %d slow ones; %d bytes for each of them", baseline, under, n, grown/int64(n))
	// A quantum of the scheduler's is not the loop's doing, nor are several the race detector's
	// and Wine's.
	quanta := 5 * time.Millisecond
	if raceEnabled {
		quanta = 100 * time.Millisecond
	}
	if under > 2*baseline+quanta {
		t.Errorf("p99 of a healthy client is %v beside %d slow ones, %v alone", under, n, baseline)
	}
	if grown > int64(n*perConn) && !raceEnabled {
		t.Errorf("%d slow clients take %d bytes, want %d or fewer for each", n, grown, perConn)
	}
	for end := time.Now().Add(patience); cull.culled.Load() < int64(n); {
		if time.Now().After(end) {
			t.Fatalf("%d of %d were culled", cull.culled.Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
	if cull.early.Load() > 0 || cull.wrong.Load() > 0 {
		t.Errorf("%d were culled early, %d for another reason than their deadline", cull.early.Load(), cull.wrong.Load())
	}
	ping(t, c)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// culling is a server that gives whoever connects so long for a whole request.
type culling struct {
	limit                        time.Duration
	opened, culled, early, wrong atomic.Int64
}

func (s *culling) handler(*loop.Conn) loop.Handler {
	var since time.Time
	return &funcs{
		opened: func(c *loop.Conn) {
			since = time.Now()
			c.SetReadDeadline(since.Add(s.limit))
			s.opened.Add(1)
		},
		data: func(*loop.Conn, []byte) (int, error) { return 0, nil }, // it waits for the rest
		closed: func(_ *loop.Conn, why error) {
			if !errors.Is(why, loop.ErrTimeout) {
				s.wrong.Add(1)
			}
			if time.Since(since) < s.limit {
				s.early.Add(1)
			}
			s.culled.Add(1)
		},
	}
}

// connect makes n clients.
func (s *culling) connect(t *testing.T, to net.Addr, n int) []*sock.TCPStream {
	t.Helper()
	addr := netip.MustParseAddrPort(to.String())
	var slow []*sock.TCPStream
	t.Cleanup(func() {
		for _, s := range slow {
			s.Close()
		}
	})
	for i := range n {
		c, err := sock.ConnectTCP(addr)
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
		for i%100 == 99 && s.opened.Load() < int64(i-50) {
			runtime.Gosched() // the backlog has its limit
		}
	}
	return slow
}

// pings is how many pings pingP99 makes.
const pings = 500

// pingP99 is how long 99 of 100 pings take at the most; before each it calls meanwhile.
func pingP99(t *testing.T, c net.Conn, meanwhile func(i int)) time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range pings {
		meanwhile(i)
		start := time.Now()
		ping(t, c)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}
