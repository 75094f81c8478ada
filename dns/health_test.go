package dns

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop/looptest"
)

// stats returns what the exchanger knows of a server.
func (n *testNet) stats(s *testServer) ServerStats {
	sum := map[netip.AddrPort]*ServerStats{}
	n.x.addServerStats(sum)
	if sum[s.addr] == nil {
		return ServerStats{}
	}
	return *sum[s.addr]
}

// wantQueries checks how many queries servers have got since the last call.
func (n *testNet) wantQueries(when string, want ...int) {
	n.t.Helper()
	time.Sleep(time.Millisecond) // a test of a server may be on its way
	synctest.Wait()
	for i, s := range n.servers {
		if s.queries[0] != want[i] {
			n.t.Errorf("%s: server %d got %d queries, want %d", when, i, s.queries[0], want[i])
		}
		s.queries[0] = 0
	}
}

// A server that is silent twice is asked after the others, and tested every 30 s by one query; when it responds, it is
// the first one again.
func TestFailingServer(t *testing.T) {
	a, b := &testServer{udp: silent}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.ask("a")
		n.wantQueries("silent once", 1, 1)
		n.ask("b")
		n.wantQueries("silent twice", 1, 1)
		if !n.stats(a).Failing || n.stats(b).Failing {
			t.Error("the silent server does not fail, or the other one does")
		}
		began := time.Now()
		for range 3 {
			n.ask("c")
		}
		n.wantQueries("failing", 0, 3)
		time.Sleep(testInterval)
		n.ask("d")
		n.ask("e")
		n.wantQueries("tested", 1, 2)
		if took := time.Since(began); took > testInterval+time.Second {
			t.Errorf("took %v: queries waited for a server that fails", took)
		}
		a.udp = honest
		time.Sleep(testInterval)
		n.wantAddr(n.ask("f"), trueAddr)
		n.wantQueries("tested, and well", 2, 1) // another one with EDNS
		if st := n.stats(a); st.Failing || st.NoEDNS {
			t.Errorf("%+v", st)
		}
		n.ask("g")
		n.wantQueries("working", 1, 0)
	}, a, b)
}

// One lost query does not make a server fail; a response in between starts the count again.
func TestSilentOnce(t *testing.T) {
	a, b := &testServer{}, &testServer{udp: honest}
	a.udp = func(q []byte) []answer {
		if a.queries[0]%2 == 1 {
			return nil
		}
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		for range 6 {
			n.ask("a")
		}
		if n.stats(a).Failing || a.queries[0] < 6 {
			t.Errorf("%+v, %d queries", n.stats(a), a.queries[0])
		}
	}, a, b)
}

// A server whose port is closed fails at once. With rotate, it is left out.
func TestRotateSkipsFailing(t *testing.T) {
	a, b, c := &testServer{udp: honest}, &testServer{}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.policy.rotate = true
		for range 9 {
			n.wantAddr(n.ask("a"), trueAddr)
		}
		if st := n.stats(b); !st.Failing || st.Sent != 1 || a.queries[0]+c.queries[0] != 9 || a.queries[0] < 3 || c.queries[0] < 3 {
			t.Errorf("%+v, %d and %d queries", st, a.queries[0], c.queries[0])
		}
	}, a, b, c)
}

// If all servers fail, they are asked in their order.
func TestAllFailing(t *testing.T) {
	a, b := &testServer{udp: silent}, &testServer{udp: silent}
	onTestNet(t, func(n *testNet) {
		n.ask("a")
		for range 2 {
			if r := n.ask("b"); len(r.steps) != 4 || r.steps[0].Server != a.addr || r.steps[1].Server != b.addr || r.steps[2].Server != a.addr {
				t.Errorf("steps %v", r.steps)
			}
		}
		b.udp = honest
		if r := n.ask("c"); r.server != b.addr {
			t.Errorf("from %v", r.server)
		}
		if r := n.ask("d"); r.server != b.addr || len(r.steps) != 0 {
			t.Errorf("from %v, steps %v", r.server, r.steps)
		}
	}, a, b)
}

// The figures of a server add up, and those of servers that are not configured any more are forgotten.
func TestServerStats(t *testing.T) {
	a, b := &testServer{udp: honest}, &testServer{udp: silent}
	onTestNet(t, func(n *testNet) {
		n.net.SetLink(n.client, a.host, looptest.Link{Latency: 10 * time.Millisecond})
		for range 5 {
			n.ask("a")
		}
		if st := n.stats(a); st.Sent != 5 || st.Answered != 5 || st.TimedOut != 0 || st.MeanRTT < 20*time.Millisecond || st.MeanRTT > 21*time.Millisecond {
			t.Errorf("%+v", st)
		}
		other := policy{servers: []netip.AddrPort{b.addr}, timeout: time.Second, attempts: 3}
		question := dnswire.Question{Name: must(dnswire.ParseName("b")), Type: dnswire.TypeA}
		done := make(chan reply, 1)
		n.run(func() { n.x.ask(question, &other, func(r reply) { done <- r }) })
		if st := n.stats(b); st.InFlight != 1 {
			t.Errorf("%+v", st)
		}
		<-done
		if st := n.stats(b); st.Sent != 3 || st.Answered != 0 || st.TimedOut != 3 || st.InFlight != 0 || st.MeanRTT != 0 || !st.Failing {
			t.Errorf("%+v", st)
		}
		time.Sleep(2 * socketAge)
		if st := n.stats(a); st.Sent != 0 {
			t.Errorf("%+v of a server that is not configured any more", st)
		}
	}, a, b)
}

// A query that goes on at a server that was forgotten leaves nothing open.
func TestForgottenServer(t *testing.T) {
	a, b := &testServer{udp: silent}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		first := policy{servers: []netip.AddrPort{netip.AddrPortFrom(a.addr.Addr(), 54), a.addr}, timeout: 5 * time.Second, attempts: 2}
		question := dnswire.Question{Name: must(dnswire.ParseName("b")), Type: dnswire.TypeA}
		n.run(func() {
			q := n.x.ask(question, &first, func(reply) {})
			n.x.ask(question, &policy{servers: []netip.AddrPort{b.addr}, timeout: time.Second, attempts: 1}, func(reply) {})
			if a := q.servers[1]; a.listed || len(n.x.servers) != 2 {
				t.Errorf("%d servers, and the one to be asked next is among them: %v", len(n.x.servers), a.listed)
			}
		})
		time.Sleep(time.Second)
		if st := n.stats(a); st.InFlight != 1 {
			t.Errorf("%+v", st)
		}
	}, a, b)
}
