package dns

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A server that drops queries with EDNS costs one timeout: then it is asked without, and the assumption is tested.
func TestEDNSDropped(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer {
		if hasEDNS(q) {
			return nil
		}
		return honest(q)
	}}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("a"), trueAddr)
		if !n.stats(s).NoEDNS {
			t.Error("not noticed")
		}
		time.Sleep(10 * time.Second) // the test has timed out
		synctest.Wait()
		s.queries[0] = 0
		began := time.Now()
		for range 3 {
			n.wantAddr(n.ask("b"), trueAddr)
		}
		if took := time.Since(began); took > time.Second || s.queries[0] != 3 {
			t.Errorf("took %v, %d queries", took, s.queries[0])
		}
		s.udp = honest
		time.Sleep(quirkPeriod)
		n.wantAddr(n.ask("c"), trueAddr)
		if n.stats(s).NoEDNS {
			t.Error("it is not tested again after quirkPeriod")
		}
	}, s)
}

// A server that understands EDNS, and was silent, is asked with EDNS again as soon as that is known.
func TestEDNSWasNotDropped(t *testing.T) {
	s := &testServer{udp: silent}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		s.udp = func(q []byte) []answer {
			if time.Since(began) < 3*time.Second {
				return nil
			}
			return honest(q)
		}
		n.wantAddr(n.ask("a"), trueAddr)
		time.Sleep(time.Second)
		synctest.Wait()
		if n.stats(s).NoEDNS {
			t.Error("EDNS is not used")
		}
		s.udp = silent
		n.policy.attempts = 1
		n.ask("b")
		s.udp = func(q []byte) []answer {
			if !hasEDNS(q) {
				t.Error("a server that has responded to EDNS is asked without")
			}
			return honest(q)
		}
		n.ask("c")
	}, s)
}

// That a server loses the case is remembered: it is asked over TCP at once.
func TestCaseLostIsRemembered(t *testing.T) {
	lowered := func(q []byte) []answer { return []answer{truth(q).lowered()} }
	s := &testServer{udp: lowered, tcp: overOne(truth)}
	onTestNet(t, func(n *testNet) {
		for range 3 {
			if r := n.ask("www.example.com"); r.err != nil || !r.tcp {
				t.Errorf("%v, over TCP: %v", r.err, r.tcp)
			}
		}
		if s.queries != [2]int{1, 3} || !n.stats(s).LosesCase {
			t.Errorf("%v queries, %+v", s.queries, n.stats(s))
		}
		s.udp = honest
		time.Sleep(quirkPeriod)
		if r := n.ask("www.example.com"); r.err != nil || r.tcp || n.stats(s).LosesCase {
			t.Errorf("%v, over TCP: %v, %+v", r.err, r.tcp, n.stats(s))
		}
	}, s)
}

func overOne(a func(q []byte) answer) func(net.Conn, []byte) {
	return func(c net.Conn, q []byte) { overTCP(a)(c, q, 0) }
}

// Without TCP, queries to such a server have a port each, and one wrong message ends the attempt: a forger who does not
// need the case has one guess.
func TestAlone(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer { return []answer{truth(q).lowered()} }}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("www.example.com"), trueAddr)
		clear(s.ports)
		s.queries[0] = 0
		for range 20 {
			n.wantAddr(n.ask("www.example.com"), trueAddr)
		}
		if len(s.ports) != 20 || s.queries[0] != 20 {
			t.Errorf("%d ports, %d queries; want 20 of each", len(s.ports), s.queries[0])
		}
		s.udp = func(q []byte) []answer { return []answer{withID(q), forged(q).lowered()} }
		r := n.ask("www.example.com")
		if r.err != errForged || len(r.steps) != 2 {
			t.Errorf("%v, steps %v", r.err, r.steps)
		}
	}, s)
}

// A flood of such queries does not take all descriptors.
func TestAloneIsBounded(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer { return []answer{truth(q).lowered()} }}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("www.example.com"), trueAddr)
		s.udp = silent
		n.policy.attempts = 1
		replies := make(chan reply, 2*maxAlone)
		n.run(func() {
			for range 2 * maxAlone {
				n.start("www.example.com", replies)
			}
		})
		if open := n.client.Descriptors(); open > maxAlone+socketsPerServer {
			t.Errorf("%d descriptors", open)
		}
		for range 2 * maxAlone {
			if r := <-replies; r.err == nil {
				t.Error("resolved by a silent server")
			}
		}
	}, s)
}
