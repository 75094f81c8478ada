package exchange

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// stats returns what the exchanger knows of a server.
func (n *testNet) stats(s *exchangetest.Server) ServerStats {
	sum := map[netip.AddrPort]*ServerStats{}
	n.x.AddServerStats(sum)
	if sum[s.Addr] == nil {
		return ServerStats{}
	}
	return *sum[s.Addr]
}

// wantQueries checks how many queries servers have got since the last call.
func (n *testNet) wantQueries(when string, want ...int) {
	n.T.Helper()
	time.Sleep(time.Millisecond) // a test of a server may be on its way
	synctest.Wait()
	for i, s := range n.Servers {
		if s.Queries[0] != want[i] {
			n.T.Errorf("%s: server %d got %d queries, want %d", when, i, s.Queries[0], want[i])
		}
		s.Queries[0] = 0
	}
}

// A server that is silent twice is asked after the others, and tested every 30 s by one query; when it responds, it is
// the first one again.
func TestFailingServer(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Silent}, &exchangetest.Server{UDP: exchangetest.Honest}
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
		a.UDP = exchangetest.Honest
		time.Sleep(testInterval)
		n.wantAddr(n.ask("f"), exchangetest.TrueAddr)
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
	a, b := &exchangetest.Server{}, &exchangetest.Server{UDP: exchangetest.Honest}
	a.UDP = func(q []byte) []exchangetest.Message {
		if a.Queries[0]%2 == 1 {
			return nil
		}
		return exchangetest.Honest(q)
	}
	onTestNet(t, func(n *testNet) {
		for range 6 {
			n.ask("a")
		}
		if n.stats(a).Failing || a.Queries[0] < 6 {
			t.Errorf("%+v, %d queries", n.stats(a), a.Queries[0])
		}
	}, a, b)
}

// A server whose port is closed fails at once. With rotate, it is left out.
func TestRotateSkipsFailing(t *testing.T) {
	a, b, c := &exchangetest.Server{UDP: exchangetest.Honest}, &exchangetest.Server{}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.policy.Rotate = true
		for range 9 {
			n.wantAddr(n.ask("a"), exchangetest.TrueAddr)
		}
		if st := n.stats(b); !st.Failing || st.Sent != 1 || a.Queries[0]+c.Queries[0] != 9 || a.Queries[0] < 3 || c.Queries[0] < 3 {
			t.Errorf("%+v, %d and %d queries", st, a.Queries[0], c.Queries[0])
		}
	}, a, b, c)
}

// If all servers fail, they are asked in their order.
func TestAllFailing(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Silent}, &exchangetest.Server{UDP: exchangetest.Silent}
	onTestNet(t, func(n *testNet) {
		n.ask("a")
		for range 2 {
			if r := n.ask("b"); len(r.Steps) != 4 || r.Steps[0].Server != a.Addr || r.Steps[1].Server != b.Addr || r.Steps[2].Server != a.Addr {
				t.Errorf("steps %v", r.Steps)
			}
		}
		b.UDP = exchangetest.Honest
		if r := n.ask("c"); r.Server != b.Addr {
			t.Errorf("from %v", r.Server)
		}
		if r := n.ask("d"); r.Server != b.Addr || len(r.Steps) != 0 {
			t.Errorf("from %v, steps %v", r.Server, r.Steps)
		}
	}, a, b)
}

// The figures of a server add up, and those of servers that are not configured any more are forgotten.
func TestServerStats(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Honest}, &exchangetest.Server{UDP: exchangetest.Silent}
	onTestNet(t, func(n *testNet) {
		n.Network.SetLink(n.Client, a.Host, looptest.Link{Latency: 10 * time.Millisecond})
		for range 5 {
			n.ask("a")
		}
		if st := n.stats(a); st.Sent != 5 || st.Answered != 5 || st.TimedOut != 0 || st.MeanRTT < 20*time.Millisecond || st.MeanRTT > 21*time.Millisecond {
			t.Errorf("%+v", st)
		}
		other := Policy{Servers: []netip.AddrPort{b.Addr}, Timeout: time.Second, Attempts: 3}
		question := dnswire.Question{Name: must(dnswire.ParseName("b")), Type: dnswire.TypeA}
		done := make(chan Reply, 1)
		n.Run(func() { n.x.Ask(question, &other, func(r Reply) { done <- r }) })
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
	a, b := &exchangetest.Server{UDP: exchangetest.Silent}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		first := Policy{Servers: []netip.AddrPort{netip.AddrPortFrom(a.Addr.Addr(), 54), a.Addr}, Timeout: 5 * time.Second, Attempts: 2}
		question := dnswire.Question{Name: must(dnswire.ParseName("b")), Type: dnswire.TypeA}
		n.Run(func() {
			q := n.x.Ask(question, &first, func(Reply) {})
			n.x.Ask(question, &Policy{Servers: []netip.AddrPort{b.Addr}, Timeout: time.Second, Attempts: 1}, func(Reply) {})
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
