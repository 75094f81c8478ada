package exchange

import (
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A sweep is a scenario in which queries are in every state: in a queue, in an outbox, in flight, late, over TCP,
// connecting, and alone on a socket.
type sweep struct {
	n       *testNet
	queries []*Query
	replies []int // of each query
	want    []int // replies of each query
	bad     []Reply
	states  map[string]bool // that queries were in when they were canceled
}

const (
	sweepLatency = time.Millisecond
	// sweepEnd is when the scenario has ended, and what it has opened is closed.
	sweepEnd = time.Minute
)

// sweepServers returns a server that answers after the attempt, a silent one, one that loses the case and has no TCP, and one
// that truncates.
func sweepServers() []*exchangetest.Server {
	recased := func(q []byte) []exchangetest.Message {
		return []exchangetest.Message{exchangetest.AnswerTo(q, exchangetest.TrueAddr).Recased()}
	}
	truncated := func(q []byte) []exchangetest.Message {
		return []exchangetest.Message{exchangetest.AnswerTo(q).Truncated()}
	}
	return []*exchangetest.Server{
		{UDP: exchangetest.Honest, Delay: func(int) time.Duration { return 7 * time.Second }},
		{UDP: exchangetest.Silent},
		{UDP: recased},
		{UDP: truncated, TCP: func(c net.Conn, q []byte) {
			time.Sleep(time.Second)
			exchangetest.HonestTCP(c, q)
		}},
	}
}

// start asks the servers in one turn: two queries each, of which the second one waits in a queue.
func (s *sweep) start() {
	servers := s.n.policy.Servers
	for _, only := range [][]int{{0, 1}, {2}, {3}} {
		p := s.n.policy
		p.Servers = nil
		for _, i := range only {
			p.Servers = append(p.Servers, servers[i])
		}
		for range 2 {
			i := len(s.replies)
			s.replies, s.want = append(s.replies, 0), append(s.want, 1)
			question := dnswire.Question{Name: must(dnswire.ParseName("www.example.com")), Type: dnswire.TypeA}
			s.queries = append(s.queries, s.n.x.Ask(question, &p, func(r Reply) {
				if s.replies[i]++; r.Err != nil {
					s.bad = append(s.bad, r)
				}
			}))
		}
	}
}

// state is where q is.
func (q *Query) state() string {
	switch t := q.newest; {
	case q.done == nil:
		return "ended"
	case q.waitsFor != nil:
		return "in a queue"
	case t.stream != nil && t.stream.conn == nil:
		return "connecting"
	case t.stream != nil:
		return "over TCP"
	case t.alone:
		return "alone"
	case slices.ContainsFunc(t.socket.unsent, func(u unsent) bool { return u.t == t }):
		return "in an outbox"
	case t.older != nil:
		return "late"
	}
	return "in flight"
}

// cancel cancels the query with an index, or all.
func (s *sweep) cancel(victim int) {
	for i, q := range s.queries {
		if victim == i || victim == len(s.queries) {
			s.states[q.state()] = true
			if q.done != nil { // otherwise its reply is delivered
				s.want[i] = 0
			}
			q.Cancel()
		}
	}
}

// run runs the scenario, with a cancellation at a time: 0 is in the turn that starts the queries; negative: none. It
// returns the times at which segments were sent or received.
func (s *sweep) run(t *testing.T, at time.Duration, victim int) (times []time.Duration) {
	onTestNetOf(t, looptest.Config{Seed: 1, Link: looptest.Link{Latency: sweepLatency}}, func(n *testNet) {
		s.n, s.queries, s.replies, s.want, s.bad = n, nil, nil, nil, nil
		n.x.random = rand.New(rand.NewPCG(1, 2)).Uint64
		n.x.limits.PerServer = 1
		began := time.Now()
		n.Network.SetRule(func(*looptest.Segment) looptest.Verdict {
			now := time.Since(began)
			times = append(times, now, now+sweepLatency)
			return looptest.Pass
		})
		n.Run(func() {
			if s.start(); at == 0 {
				s.cancel(victim)
			}
		})
		if at > 0 {
			time.Sleep(at - time.Since(began))
			n.Run(func() { s.cancel(victim) })
		}
		time.Sleep(sweepEnd - time.Since(began))
		n.Run(func() {
			for i, replies := range s.replies {
				if replies != s.want[i] {
					t.Errorf("victim %d at %v: query %d has %d replies, want %d", victim, at, i, replies, s.want[i])
				}
			}
			if len(s.bad) > 0 {
				t.Errorf("victim %d at %v: %v, steps %v", victim, at, s.bad[0].Err, s.bad[0].Steps)
			}
			for _, q := range s.queries { // the exchanger has forgotten some of the servers
				n.checkServers(q.servers)
			}
			n.checkUnused()
		})
		if open := n.Client.Descriptors(); open != 0 {
			t.Errorf("victim %d at %v: %d descriptors are open", victim, at, open)
		}
	}, sweepServers()...)
	return times
}

// A query can be canceled at each event, in whatever state it is: it has no reply, nothing of it stays behind, and the other
// queries get their answers.
func TestCancelAtEachEvent(t *testing.T) {
	s := &sweep{states: map[string]bool{}}
	times := s.run(t, -1, 0)
	slices.Sort(times)
	times = slices.Compact(append([]time.Duration{0}, times...))
	for _, at := range times {
		for victim := range len(s.queries) + 1 {
			for _, later := range []time.Duration{0, time.Nanosecond} {
				if s.run(t, at+later, victim); t.Failed() {
					return
				}
			}
		}
	}
	for _, state := range []string{"in a queue", "in an outbox", "in flight", "late", "connecting", "over TCP", "alone", "ended"} {
		if !s.states[state] {
			t.Errorf("no query was canceled while it was %s", state)
		}
	}
}
