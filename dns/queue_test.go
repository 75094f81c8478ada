package dns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop/looptest"
)

// At most limits.perServer queries wait for a server; the time of others in the queue does not count for their
// attempts, and they begin in the order in which they were started.
func TestQueriesPerServer(t *testing.T) {
	const queries, most, takes = 50, 5, 4 * time.Second
	var inFlight, peak atomic.Int64
	s := &testServer{delay: func(int) time.Duration { return takes }}
	s.udp = func(q []byte) []answer {
		peak.Store(max(peak.Load(), inFlight.Add(1)))
		time.AfterFunc(takes, func() { inFlight.Add(-1) })
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		n.x.limits.perServer = most
		began := time.Now()
		replies := make(chan reply, queries)
		n.startMany(queries, replies)
		if st := n.stats(s); st.InFlight != most || st.Queued != queries-most {
			t.Errorf("%+v", st)
		}
		for range queries {
			r := <-replies
			n.wantAddr(r, trueAddr)
			if len(r.steps) != 0 {
				t.Errorf("steps %v", r.steps)
			}
		}
		if took := time.Since(began); peak.Load() != most || took < takes*queries/most || took > takes*queries/most+time.Second {
			t.Errorf("took %v, with %d queries in flight", took, peak.Load())
		}
	}, s)
}

// What has timed out makes room, although its answer is still accepted.
func TestTimedOutMakesRoom(t *testing.T) {
	s := &testServer{udp: silent}
	onTestNet(t, func(n *testNet) {
		n.x.limits.perServer = 1
		began := time.Now()
		replies := make(chan reply, 3)
		n.startMany(3, replies)
		for range 3 {
			if r := <-replies; !errors.Is(r.err, os.ErrDeadlineExceeded) || len(r.steps) != 2 {
				t.Errorf("%v, steps %v", r.err, r.steps)
			}
		}
		if took := time.Since(began); took < 30*time.Second || took > 30*time.Second+6*lateness {
			t.Errorf("took %v, want 6 attempts of 5 s", took)
		}
	}, s)
}

// A query that was sent once more, early, does not wait for the room that this takes.
func TestResentMakesRoom(t *testing.T) {
	a, b := &testServer{udp: honest}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.x.limits.perServer = 1
		for range minSamples {
			n.ask("a")
		}
		a.udp, b.udp = silent, silent
		replies := make(chan reply, 1)
		n.startMany(1, replies)
		time.Sleep(4*n.policy.timeout + 4*lateness)
		if len(replies) != 1 {
			t.Fatal("it waits for itself")
		}
		if r := <-replies; len(r.steps) != 4 || b.queries[0] != 4 {
			t.Errorf("steps %v, %d queries to the second server", r.steps, b.queries[0])
		}
	}, a, b)
}

// Attempts begin at most at the rate of limits.interval, besides a short burst.
func TestRatePerServer(t *testing.T) {
	for _, interval := range []time.Duration{time.Millisecond, 20 * time.Millisecond, time.Second} {
		const queries = 60
		s := &testServer{udp: honest}
		onTestNet(t, func(n *testNet) {
			n.x.limits.interval = interval
			replies := make(chan reply, queries)
			n.startMany(queries, replies)
			for range queries {
				n.wantAddr(<-replies, trueAddr)
			}
			spare := int(burst/interval) + 2
			for i, at := range s.times {
				if j := i + spare + 10; j < queries && s.times[j].Sub(at) < 10*interval {
					t.Errorf("%v: %d attempts in %v", interval, spare+10, s.times[j].Sub(at))
				}
			}
			if took, want := s.times[queries-1].Sub(s.times[0]), interval*queries; took > want+want/4+lateness {
				t.Errorf("took %v, want about %v", took, want)
			}
		}, s)
	}
}

// Queries in a queue can be canceled, and end with the exchanger.
func TestQueueEnds(t *testing.T) {
	s := &testServer{udp: silent}
	onTestNet(t, func(n *testNet) {
		n.x.limits.perServer = 1
		replies := make(chan reply, 100)
		all := n.startMany(100, replies)
		n.run(func() {
			for _, q := range all[10:] {
				q.cancel()
			}
			for range 1000 { // a queue of canceled queries does not grow
				n.start("a", replies).cancel()
			}
			server := n.x.servers[0]
			if st := n.stats(s); st.Queued != 9 || len(server.waiting) > 2*(9+minSlots) {
				t.Errorf("%d are queued, in %d places", st.Queued, len(server.waiting))
			}
			n.x.close()
		})
		for range 10 {
			if r := <-replies; !errors.Is(r.err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", r.err)
			}
		}
	}, s)
}

// Without descriptors, queued queries fail one after the other.
func TestQueueWithoutDescriptors(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.x.limits.perServer = 1
		n.client.SetMaxDescriptors(0)
		replies := make(chan reply, 1000)
		n.startMany(1000, replies)
		for range 1000 {
			if r := <-replies; !errors.Is(r.err, syscall.EMFILE) {
				t.Errorf("%v, want EMFILE", r.err)
			}
		}
		n.client.SetMaxDescriptors(100)
	}, s)
}

// Queries are sent from the source addresses in turn, those of the family of the server, also over TCP.
func TestSourceAddrs(t *testing.T) {
	from := map[netip.Addr]int{}
	s := &testServer{udp: honest, tcp: func(c net.Conn, q []byte) {
		from[c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()]++
		honestTCP(c, q)
		c.Close()
	}}
	onTestNet(t, func(n *testNet) {
		n.x.limits.sources = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.2")}
		n.net.SetRule(func(seg *looptest.Segment) looptest.Verdict {
			if seg.ToHost == s.host && seg.Kind == looptest.Datagram {
				from[seg.From.Addr()]++
			}
			return looptest.Pass
		})
		for _, n.policy.tcp = range []bool{false, true} {
			clear(from)
			for range 100 {
				n.wantAddr(n.ask("a"), trueAddr)
			}
			if one, two := from[netip.MustParseAddr("10.0.0.1")], from[netip.MustParseAddr("10.0.0.2")]; one+two != 100 || one < 20 || two < 20 {
				t.Errorf("over TCP %v: sent from %v", n.policy.tcp, from)
			}
		}
	}, s)
}

// Limits that are out of range are refused.
func TestBadLimits(t *testing.T) {
	for _, c := range []Config{
		{SocketsPerServer: -1},
		{SocketsPerServer: maxSockets + 1},
		{MaxQueriesPerServer: -1},
		{MaxRatePerServer: -1},
		{SourceAddrs: []netip.Addr{{}}},
		{SourceAddrs: []netip.Addr{netip.MustParseAddr("224.0.0.1")}},
		{SourceAddrs: make([]netip.Addr, maxSockets+1)},
	} {
		if _, err := New(c); !errors.Is(err, pollux.ErrBadArgument) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	l := (&Config{MaxInFlight: 7, SocketsPerServer: 8, MaxQueriesPerServer: 9, MaxRatePerServer: 100}).limitsOf(4)
	if l.queries != 7 || l.sockets != 8 || l.perServer != 2 || l.interval != 40*time.Millisecond {
		t.Errorf("limits of one of 4 loops: %+v", l)
	}
}
