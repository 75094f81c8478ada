package exchange

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
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
		answer func(q []byte) []exchangetest.Message
		tcp    func(c net.Conn, q []byte)
		from   int // which of the servers answers in the end
		after  time.Duration
		steps  int
	}{
		{name: "true", answer: exchangetest.Honest, after: late, steps: 1},
		{name: "twice", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{truth(q), forged(q)} }, after: late, steps: 1},
		{name: "truncated", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{cutShort(q)} }, tcp: exchangetest.HonestTCP, after: late, steps: 1},
		{name: "truncated, without TCP", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{cutShort(q)} }, from: 1, after: 8 * time.Second, steps: 1},
		{name: "another case", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{forged(q).Recased()} }, tcp: exchangetest.HonestTCP, after: late, steps: 1},
		{name: "FORMERR", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{code(1)(q)} }, after: late, steps: 1},
		{name: "SERVFAIL", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{code(2)(q)} }, from: 1, after: 8 * time.Second, steps: 1},
		{name: "malformed", answer: func(q []byte) []exchangetest.Message { a := forged(q); return []exchangetest.Message{a[:len(a)-1]} }, from: 1, after: 8 * time.Second, steps: 1},
		{name: "forged", answer: func(q []byte) []exchangetest.Message { return []exchangetest.Message{withID(q), withName(q)} }, from: 1, after: 8 * time.Second, steps: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := &exchangetest.Server{TCP: c.tcp, Delay: firstAfter(late)}, &exchangetest.Server{UDP: exchangetest.Honest, Delay: firstAfter(3 * time.Second)}
			a.UDP = func(q []byte) []exchangetest.Message {
				if a.Queries[0] == 1 {
					return c.answer(q)
				}
				return exchangetest.Honest(q)
			}
			onTestNet(t, func(n *testNet) {
				began := time.Now()
				r := n.ask("www.example.com")
				n.wantAddr(r, exchangetest.TrueAddr)
				if took := time.Since(began); took < c.after || took > c.after+2*lateness || len(r.Steps) != c.steps || r.Server != n.Servers[c.from].Addr {
					t.Errorf("took %v, steps %v, from %v; want %v, %d, %v", took, r.Steps, r.Server, c.after, c.steps, n.Servers[c.from].Addr)
				}
				time.Sleep(time.Minute) // what else is late
				n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
			}, a, b)
		})
	}
}

// After the last attempt has failed early, an answer to what was sent before still ends the query.
func TestLateAfterLastAttempt(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.policy.Attempts = 1
		n.policy.Servers = append(n.policy.Servers, netip.AddrPortFrom(s.Addr.Addr(), 54)) // nothing listens there
		n.Run(func() { n.x.serversOf(&n.policy)[1].setFailing(true) })                     // so that the early query goes to the first server, too
		for range minSamples {
			n.ask("a")
		}
		s.UDP = func(q []byte) []exchangetest.Message {
			if s.Queries[0] == minSamples+1 {
				return []exchangetest.Message{code(2)(q)}
			}
			return exchangetest.Honest(q)
		}
		s.Delay = func(query int) time.Duration {
			if query == minSamples+1 {
				return minResend + 50*time.Millisecond
			}
			return 4 * time.Second
		}
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if took, want := time.Since(began), minResend+4*time.Second; took < want || took > want+lateness || len(r.Steps) != 2 {
			t.Errorf("took %v, steps %v", took, r.Steps)
		}
		s.UDP = exchangetest.Silent
		began = time.Now()
		if r := n.ask("www.example.com"); !errors.Is(r.Err, syscall.ECONNREFUSED) {
			t.Errorf("%v, want the error of the last attempt", r.Err)
		}
		if took, want := time.Since(began), n.policy.Timeout; took < want || took > want+2*lateness {
			t.Errorf("took %v, want %v", took, want)
		}
	}, s)
}

// A query that was probably lost is sent once more, early, to the next server. The regular attempts take place as without
// that.
func TestResend(t *testing.T) {
	const latency = 20 * time.Millisecond
	a, b := &exchangetest.Server{UDP: exchangetest.Honest}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		for _, s := range n.Servers {
			n.Network.SetLink(n.Client, s.Host, looptest.Link{Latency: latency})
		}
		for range minSamples {
			n.ask("a")
		}
		a.UDP = exchangetest.Silent
		began := time.Now()
		r := n.ask("b")
		n.wantAddr(r, exchangetest.TrueAddr)
		if took, want := time.Since(began), minResend+2*latency; took < want || took > want+lateness || len(r.Steps) != 0 || r.Server != b.Addr {
			t.Errorf("took %v, steps %v, from %v; want %v, none, %v", took, r.Steps, r.Server, want, b.Addr)
		}
		b.UDP = exchangetest.Silent
		a.Times, b.Times = nil, nil
		began = time.Now()
		if r := n.ask("c"); !errors.Is(r.Err, os.ErrDeadlineExceeded) || len(r.Steps) != 4 {
			t.Errorf("%v, steps %v", r.Err, r.Steps)
		}
		if took := time.Since(began); took < 20*time.Second || took > 20*time.Second+4*lateness {
			t.Errorf("took %v, want 4 attempts of 5 s", took)
		}
		regular := func(s *exchangetest.Server, from time.Duration) {
			for _, want := range []time.Duration{from, from + 10*time.Second} {
				if !slices.ContainsFunc(s.Times, func(at time.Time) bool {
					return (at.Sub(began) - want - latency).Abs() <= 4*lateness
				}) {
					t.Errorf("no query of the attempt at %v", want)
				}
			}
		}
		regular(a, 0)
		regular(b, 5*time.Second)
		if sent := len(a.Times) + len(b.Times); sent > 2*4 {
			t.Errorf("%d queries for 4 attempts", sent)
		}
	}, a, b)
}

// A slow server is not asked twice only because it is slow.
func TestNoResendWithinFiveTimesTheMean(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Honest}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.Network.SetLink(n.Client, a.Host, looptest.Link{Latency: 200 * time.Millisecond})
		for range minSamples {
			n.ask("a")
		}
		n.Network.SetLink(n.Client, a.Host, looptest.Link{Latency: 900 * time.Millisecond})
		n.wantAddr(n.ask("a"), exchangetest.TrueAddr)
		if sent := b.Queries[0]; sent != 0 {
			t.Errorf("the other server got %d queries", sent)
		}
	}, a, b)
}
