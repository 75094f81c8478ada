package exchange

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A server that drops queries with EDNS costs one timeout: then it is asked without, and the assumption is tested.
func TestEDNSDropped(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if exchangetest.HasEDNS(q) {
			return nil
		}
		return exchangetest.Honest(q)
	}}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("a"), exchangetest.TrueAddr)
		if !n.stats(s).NoEDNS {
			t.Error("not noticed")
		}
		time.Sleep(10 * time.Second) // the test has timed out
		synctest.Wait()
		s.Queries[0] = 0
		began := time.Now()
		for range 3 {
			n.wantAddr(n.ask("b"), exchangetest.TrueAddr)
		}
		if took := time.Since(began); took > time.Second || s.Queries[0] != 3 {
			t.Errorf("took %v, %d queries", took, s.Queries[0])
		}
		s.UDP = exchangetest.Honest
		time.Sleep(quirkPeriod)
		n.wantAddr(n.ask("c"), exchangetest.TrueAddr)
		if n.stats(s).NoEDNS {
			t.Error("it is not tested again after quirkPeriod")
		}
	}, s)
}

// A server that understands EDNS, and was silent, is asked with EDNS again as soon as that is known.
func TestEDNSWasNotDropped(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Silent}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		s.UDP = func(q []byte) []exchangetest.Message {
			if time.Since(began) < 3*time.Second {
				return nil
			}
			return exchangetest.Honest(q)
		}
		n.wantAddr(n.ask("a"), exchangetest.TrueAddr)
		time.Sleep(time.Second)
		synctest.Wait()
		if n.stats(s).NoEDNS {
			t.Error("EDNS is not used")
		}
		s.UDP = exchangetest.Silent
		n.policy.Attempts = 1
		n.ask("b")
		s.UDP = func(q []byte) []exchangetest.Message {
			if !exchangetest.HasEDNS(q) {
				t.Error("a server that has responded to EDNS is asked without")
			}
			return exchangetest.Honest(q)
		}
		n.ask("c")
	}, s)
}

// That a server loses the case is remembered: it is asked over TCP at once.
func TestCaseLostIsRemembered(t *testing.T) {
	lowered := func(q []byte) []exchangetest.Message { return []exchangetest.Message{truth(q).Lowered()} }
	s := &exchangetest.Server{UDP: lowered, TCP: overOne(truth)}
	onTestNet(t, func(n *testNet) {
		for range 3 {
			if r := n.ask("www.example.com"); r.Err != nil || !r.TCP {
				t.Errorf("%v, over TCP: %v", r.Err, r.TCP)
			}
		}
		if s.Queries != [2]int{1, 3} || !n.stats(s).LosesCase {
			t.Errorf("%v queries, %+v", s.Queries, n.stats(s))
		}
		s.UDP = exchangetest.Honest
		time.Sleep(quirkPeriod)
		if r := n.ask("www.example.com"); r.Err != nil || r.TCP || n.stats(s).LosesCase {
			t.Errorf("%v, over TCP: %v, %+v", r.Err, r.TCP, n.stats(s))
		}
	}, s)
}

func overOne(a func(q []byte) exchangetest.Message) func(net.Conn, []byte) {
	return func(c net.Conn, q []byte) { overTCP(a)(c, q, 0) }
}

// Without TCP, queries to such a server have a port each, and one wrong message ends the attempt: a forger who does not
// need the case has one guess.
func TestAlone(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message { return []exchangetest.Message{truth(q).Lowered()} }}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
		clear(s.Ports)
		s.Queries[0] = 0
		for range 20 {
			n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
		}
		if len(s.Ports) != 20 || s.Queries[0] != 20 {
			t.Errorf("%d ports, %d queries; want 20 of each", len(s.Ports), s.Queries[0])
		}
		s.UDP = func(q []byte) []exchangetest.Message { return []exchangetest.Message{withID(q), forged(q).Lowered()} }
		r := n.ask("www.example.com")
		if r.Err != errForged || len(r.Steps) != 2 {
			t.Errorf("%v, steps %v", r.Err, r.Steps)
		}
	}, s)
}

// A flood of such queries does not take all descriptors.
func TestAloneIsBounded(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message { return []exchangetest.Message{truth(q).Lowered()} }}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
		s.UDP = exchangetest.Silent
		n.policy.Attempts = 1
		replies := make(chan Reply, 2*maxAlone)
		n.Run(func() {
			for range 2 * maxAlone {
				n.start("www.example.com", replies)
			}
		})
		if open := n.Client.Descriptors(); open > maxAlone+DefaultSockets {
			t.Errorf("%d descriptors", open)
		}
		for range 2 * maxAlone {
			if r := <-replies; r.Err == nil {
				t.Error("resolved by a silent server")
			}
		}
	}, s)
}

// A server that is silent is asked with EDNS and without in turn, over as many queries as it takes.
func TestSilentServerIsAskedWithAndWithoutEDNS(t *testing.T) {
	var withEDNS []bool
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		withEDNS = append(withEDNS, exchangetest.HasEDNS(q))
		return nil
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.Attempts = 3
		n.ask("a")
		n.ask("b")
		if want := []bool{true, false, true, false, true, false}; !slices.Equal(withEDNS, want) {
			t.Errorf("queries with EDNS: %v, want %v", withEDNS, want)
		}
	}, s)
}

// When a server that loses the case of names is known to lack TCP, a response in another case to a query that was in
// flight has it sent alone at once, and not over TCP.
func TestCaseLostWithoutTCP(t *testing.T) {
	s := &exchangetest.Server{
		UDP: func(q []byte) []exchangetest.Message {
			return []exchangetest.Message{exchangetest.AnswerTo(q, exchangetest.TrueAddr).Recased()}
		},
		Delay: func(n int) time.Duration { return []time.Duration{0, time.Second}[n%2] },
	}
	onTestNet(t, func(n *testNet) {
		connects := 0
		n.Network.SetRule(func(seg *looptest.Segment) looptest.Verdict {
			if seg.ToHost == s.Host && seg.Kind == looptest.SYN {
				connects++
			}
			return looptest.Pass
		})
		replies := make(chan Reply, 2)
		n.Run(func() {
			n.start("a", replies)
			n.start("b", replies)
		})
		for range 2 {
			r := <-replies
			n.wantAddr(r, exchangetest.TrueAddr)
			if r.TCP || len(r.Steps) > 0 {
				t.Errorf("over TCP %v, steps %v", r.TCP, r.Steps)
			}
		}
		if connects != 1 || s.Queries[0] != 4 {
			t.Errorf("%d connections were tried, and %d queries sent; want 1 and 4", connects, s.Queries[0])
		}
	}, s)
}
