package dns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
)

// firstAfter delays the answer to the first query.
func firstAfter(d time.Duration) func(int) time.Duration {
	return func(n int) time.Duration {
		if n == 1 {
			return d
		}
		return 0
	}
}

// The true answer ends a query also if its attempt has timed out. Other late responses do no harm to the current
// attempt.
func TestLate(t *testing.T) {
	const late = 6 * time.Second
	for _, c := range []struct {
		name   string
		answer func(q []byte) []answer
		tcp    func(c net.Conn, q []byte)
		from   int // which of the servers answers in the end
		after  time.Duration
		steps  int
	}{
		{name: "true", answer: honest, after: late, steps: 1},
		{name: "twice", answer: func(q []byte) []answer { return []answer{truth(q), forged(q)} }, after: late, steps: 1},
		{name: "truncated", answer: func(q []byte) []answer { return []answer{cutShort(q)} }, tcp: honestTCP, after: late, steps: 1},
		{name: "truncated, without TCP", answer: func(q []byte) []answer { return []answer{cutShort(q)} }, from: 1, after: 8 * time.Second, steps: 1},
		{name: "another case", answer: func(q []byte) []answer { return []answer{forged(q).recased()} }, tcp: honestTCP, after: late, steps: 1},
		{name: "FORMERR", answer: func(q []byte) []answer { return []answer{code(1)(q)} }, after: late, steps: 1},
		{name: "SERVFAIL", answer: func(q []byte) []answer { return []answer{code(2)(q)} }, from: 1, after: 8 * time.Second, steps: 1},
		{name: "malformed", answer: func(q []byte) []answer { a := forged(q); return []answer{a[:len(a)-1]} }, from: 1, after: 8 * time.Second, steps: 1},
		{name: "forged", answer: func(q []byte) []answer { return []answer{withID(q), withName(q)} }, from: 1, after: 8 * time.Second, steps: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := &testServer{tcp: c.tcp, delay: firstAfter(late)}, &testServer{udp: honest, delay: firstAfter(3 * time.Second)}
			a.udp = func(q []byte) []answer {
				if a.queries[0] == 1 {
					return c.answer(q)
				}
				return honest(q)
			}
			onTestNet(t, func(n *testNet) {
				began := time.Now()
				r := n.ask("www.example.com")
				n.wantAddr(r, trueAddr)
				if took := time.Since(began); took < c.after || took > c.after+2*lateness || len(r.steps) != c.steps || r.server != n.servers[c.from].addr {
					t.Errorf("took %v, steps %v, from %v; want %v, %d, %v", took, r.steps, r.server, c.after, c.steps, n.servers[c.from].addr)
				}
				time.Sleep(time.Minute) // what else is late
				n.wantAddr(n.ask("www.example.com"), trueAddr)
			}, a, b)
		})
	}
}

// After the last attempt has failed early, an answer to what was sent before still ends the query.
func TestLateAfterLastAttempt(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.policy.attempts = 1
		n.policy.servers = append(n.policy.servers, netip.AddrPortFrom(s.addr.Addr(), 54)) // nothing listens there
		n.run(func() { n.x.serversOf(&n.policy)[1].setFailing(true) })                     // so that the early query goes to the first server, too
		for range minSamples {
			n.ask("a")
		}
		s.udp = func(q []byte) []answer {
			if s.queries[0] == minSamples+1 {
				return []answer{code(2)(q)}
			}
			return honest(q)
		}
		s.delay = func(query int) time.Duration {
			if query == minSamples+1 {
				return minResend + 50*time.Millisecond
			}
			return 4 * time.Second
		}
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if took, want := time.Since(began), minResend+4*time.Second; took < want || took > want+lateness || len(r.steps) != 2 {
			t.Errorf("took %v, steps %v", took, r.steps)
		}
		s.udp = silent
		began = time.Now()
		if r := n.ask("www.example.com"); !errors.Is(r.err, syscall.ECONNREFUSED) {
			t.Errorf("%v, want the error of the last attempt", r.err)
		}
		if took, want := time.Since(began), n.policy.timeout; took < want || took > want+2*lateness {
			t.Errorf("took %v, want %v", took, want)
		}
	}, s)
}

// A query that was probably lost is sent once more, early, to the next server. The regular attempts take place as without
// that.
func TestResend(t *testing.T) {
	const latency = 20 * time.Millisecond
	a, b := &testServer{udp: honest}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		for _, s := range n.servers {
			n.net.SetLink(n.client, s.host, looptest.Link{Latency: latency})
		}
		for range minSamples {
			n.ask("a")
		}
		a.udp = silent
		began := time.Now()
		r := n.ask("b")
		n.wantAddr(r, trueAddr)
		if took, want := time.Since(began), minResend+2*latency; took < want || took > want+lateness || len(r.steps) != 0 || r.server != b.addr {
			t.Errorf("took %v, steps %v, from %v; want %v, none, %v", took, r.steps, r.server, want, b.addr)
		}
		b.udp = silent
		a.times, b.times = nil, nil
		began = time.Now()
		if r := n.ask("c"); !errors.Is(r.err, os.ErrDeadlineExceeded) || len(r.steps) != 4 {
			t.Errorf("%v, steps %v", r.err, r.steps)
		}
		if took := time.Since(began); took < 20*time.Second || took > 20*time.Second+4*lateness {
			t.Errorf("took %v, want 4 attempts of 5 s", took)
		}
		regular := func(s *testServer, from time.Duration) {
			for _, want := range []time.Duration{from, from + 10*time.Second} {
				if !slices.ContainsFunc(s.times, func(at time.Time) bool {
					return (at.Sub(began) - want - latency).Abs() <= 4*lateness
				}) {
					t.Errorf("no query of the attempt at %v", want)
				}
			}
		}
		regular(a, 0)
		regular(b, 5*time.Second)
		if sent := len(a.times) + len(b.times); sent > 2*4 {
			t.Errorf("%d queries for 4 attempts", sent)
		}
	}, a, b)
}

// A slow server is not asked twice only because it is slow.
func TestNoResendWithinFiveTimesTheMean(t *testing.T) {
	a, b := &testServer{udp: honest}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.net.SetLink(n.client, a.host, looptest.Link{Latency: 200 * time.Millisecond})
		for range minSamples {
			n.ask("a")
		}
		n.net.SetLink(n.client, a.host, looptest.Link{Latency: 900 * time.Millisecond})
		n.wantAddr(n.ask("a"), trueAddr)
		if sent := b.queries[0]; sent != 0 {
			t.Errorf("the other server got %d queries", sent)
		}
	}, a, b)
}
