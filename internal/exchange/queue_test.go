package exchange

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// At most Limits.PerServer queries wait for a server; the time of others in the queue does not count for their
// attempts, and they begin in the order in which they were started.
func TestQueriesPerServer(t *testing.T) {
	const queries, most, takes = 50, 5, 4 * time.Second
	var inFlight, peak atomic.Int64
	s := &exchangetest.Server{Delay: func(int) time.Duration { return takes }}
	s.UDP = func(q []byte) []exchangetest.Message {
		peak.Store(max(peak.Load(), inFlight.Add(1)))
		time.AfterFunc(takes, func() { inFlight.Add(-1) })
		return exchangetest.Honest(q)
	}
	onTestNet(t, func(n *testNet) {
		n.x.limits.PerServer = most
		began := time.Now()
		replies := make(chan Reply, queries)
		n.startMany(queries, replies)
		if st := n.stats(s); st.InFlight != most || st.Queued != queries-most {
			t.Errorf("%+v", st)
		}
		for range queries {
			r := <-replies
			n.wantAddr(r, exchangetest.TrueAddr)
			if len(r.Steps) != 0 {
				t.Errorf("steps %v", r.Steps)
			}
		}
		if took := time.Since(began); peak.Load() != most || took < takes*queries/most || took > takes*queries/most+time.Second {
			t.Errorf("took %v, with %d queries in flight", took, peak.Load())
		}
	}, s)
}

// What has timed out makes room, although its answer is still accepted.
func TestTimedOutMakesRoom(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Silent}
	onTestNet(t, func(n *testNet) {
		n.x.limits.PerServer = 1
		began := time.Now()
		replies := make(chan Reply, 3)
		n.startMany(3, replies)
		for range 3 {
			if r := <-replies; !errors.Is(r.Err, os.ErrDeadlineExceeded) || len(r.Steps) != 2 {
				t.Errorf("%v, steps %v", r.Err, r.Steps)
			}
		}
		if took := time.Since(began); took < 30*time.Second || took > 30*time.Second+6*lateness {
			t.Errorf("took %v, want 6 attempts of 5 s", took)
		}
	}, s)
}

// A query that was sent once more, early, does not wait for the room that this takes.
func TestResentMakesRoom(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Honest}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.x.limits.PerServer = 1
		for range minSamples {
			n.ask("a")
		}
		a.UDP, b.UDP = exchangetest.Silent, exchangetest.Silent
		replies := make(chan Reply, 1)
		n.startMany(1, replies)
		time.Sleep(4*n.policy.Timeout + 4*lateness)
		if len(replies) != 1 {
			t.Fatal("it waits for itself")
		}
		if r := <-replies; len(r.Steps) != 4 || b.Queries[0] != 4 {
			t.Errorf("steps %v, %d queries to the second server", r.Steps, b.Queries[0])
		}
	}, a, b)
}

// Attempts begin at most at the rate of Limits.Interval, besides a short burst.
func TestRatePerServer(t *testing.T) {
	for _, interval := range []time.Duration{time.Millisecond, 20 * time.Millisecond, time.Second} {
		const queries = 60
		s := &exchangetest.Server{UDP: exchangetest.Honest}
		onTestNet(t, func(n *testNet) {
			n.x.limits.Interval = interval
			replies := make(chan Reply, queries)
			n.startMany(queries, replies)
			for range queries {
				n.wantAddr(<-replies, exchangetest.TrueAddr)
			}
			spare := int(burst/interval) + 2
			for i, at := range s.Times {
				if j := i + spare + 10; j < queries && s.Times[j].Sub(at) < 10*interval {
					t.Errorf("%v: %d attempts in %v", interval, spare+10, s.Times[j].Sub(at))
				}
			}
			if took, want := s.Times[queries-1].Sub(s.Times[0]), interval*queries; took > want+want/4+lateness {
				t.Errorf("took %v, want about %v", took, want)
			}
		}, s)
	}
}

// Queries in a queue can be canceled, and end with the exchanger.
func TestQueueEnds(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Silent}
	onTestNet(t, func(n *testNet) {
		n.x.limits.PerServer = 1
		replies := make(chan Reply, 100)
		all := n.startMany(100, replies)
		n.Run(func() {
			for _, q := range all[10:] {
				q.Cancel()
			}
			for range 1000 { // a queue of canceled queries does not grow
				n.start("a", replies).Cancel()
			}
			server := n.x.servers[0]
			if st := n.stats(s); st.Queued != 9 || len(server.waiting) > 2*(9+minSlots) {
				t.Errorf("%d are queued, in %d places", st.Queued, len(server.waiting))
			}
			n.x.Close()
		})
		for range 10 {
			if r := <-replies; !errors.Is(r.Err, net.ErrClosed) {
				t.Errorf("%v, want net.ErrClosed", r.Err)
			}
		}
	}, s)
}

// Without descriptors, queued queries fail one after the other.
func TestQueueWithoutDescriptors(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.x.limits.PerServer = 1
		n.Client.SetMaxDescriptors(0)
		replies := make(chan Reply, 1000)
		n.startMany(1000, replies)
		for range 1000 {
			if r := <-replies; !errors.Is(r.Err, syscall.EMFILE) {
				t.Errorf("%v, want EMFILE", r.Err)
			}
		}
		n.Client.SetMaxDescriptors(100)
	}, s)
}

// Queries are sent from the source addresses in turn, those of the family of the server, also over TCP.
func TestSourceAddrs(t *testing.T) {
	from := map[netip.Addr]int{}
	s := &exchangetest.Server{UDP: exchangetest.Honest, TCP: func(c net.Conn, q []byte) {
		from[c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()]++
		exchangetest.HonestTCP(c, q)
		c.Close()
	}}
	onTestNet(t, func(n *testNet) {
		n.x.limits.Sources = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.2")}
		n.Network.SetRule(func(seg *looptest.Segment) looptest.Verdict {
			if seg.ToHost == s.Host && seg.Kind == looptest.Datagram {
				from[seg.From.Addr()]++
			}
			return looptest.Pass
		})
		for _, n.policy.TCP = range []bool{false, true} {
			clear(from)
			for range 100 {
				n.wantAddr(n.ask("a"), exchangetest.TrueAddr)
			}
			if one, two := from[netip.MustParseAddr("10.0.0.1")], from[netip.MustParseAddr("10.0.0.2")]; one+two != 100 || one < 20 || two < 20 {
				t.Errorf("over TCP %v: sent from %v", n.policy.TCP, from)
			}
		}
	}, s)
}
