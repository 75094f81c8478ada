package exchange

import (
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// A flood of forged messages takes a bounded part of each turn, and ends with the socket: the query goes on over
// TCP, before a forger has tried many IDs.
func TestFlood(t *testing.T) {
	const flood, asked = 100_000, 300
	s := &exchangetest.Server{UDP: exchangetest.Honest, TCP: exchangetest.HonestTCP}
	onTestNet(t, func(n *testNet) {
		n.x.random = sameSocket()
		for range asked {
			n.ask("a")
		}
		s.UDP = func(q []byte) []exchangetest.Message {
			all := make([]exchangetest.Message, flood)
			for i := range all {
				all[i] = withID(q)
			}
			return append(all, truth(q))
		}
		replies := make(chan Reply, 1)
		n.Run(func() { n.start("b", replies) })
		most, last, turns := uint64(0), uint64(0), 0
		var r Reply
		for r.Err == nil && r.Path == "" {
			n.Run(func() { // one function is run in each turn
				now := n.x.dropped.Load()
				most, last, turns = max(most, now-last), now, turns+1
			})
			select {
			case r = <-replies:
			default:
			}
		}
		n.wantAddr(r, exchangetest.TrueAddr)
		if !r.TCP || len(r.Steps) > 0 {
			t.Errorf("over TCP: %v, steps %v", r.TCP, r.Steps)
		}
		if most > maxBatches*receiveBatch || most == 0 {
			t.Errorf("%d messages in one of %d turns, want %d at most", most, turns, maxBatches*receiveBatch)
		}
		time.Sleep(time.Second)
		if guesses := n.x.dropped.Load(); guesses > asked+1+spareStrays+1 {
			t.Errorf("%d guesses", guesses)
		}
		if r := n.ask("c"); !r.TCP || r.Err != nil { // the forger finds each port anew
			t.Errorf("over TCP: %v, %v", r.TCP, r.Err)
		}
	}, s)
}

// sameSocket returns a source of numbers that choose the same of the sockets, and one ID after the other.
func sameSocket() func() uint64 {
	calls := uint64(0)
	return func() uint64 { calls += DefaultSockets; return calls }
}

// Without TCP, a flood costs attempts, and nothing else.
func TestFloodWithoutTCP(t *testing.T) {
	s := &exchangetest.Server{}
	s.UDP = func(q []byte) []exchangetest.Message {
		if s.Queries[0] > 1 {
			return exchangetest.Honest(q)
		}
		return slices.Repeat([]exchangetest.Message{withID(q)}, 2*spareStrays)
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if len(r.Steps) != 1 || !r.Steps[0].TCP || s.Queries[0] != 2 || len(s.Ports) != 2 {
			t.Errorf("steps %v, %d queries from %d ports", r.Steps, s.Queries[0], len(s.Ports))
		}
	}, s)
}

// Late answers, and those to canceled queries, are not taken for a flood.
func TestManyLateAnswers(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest, Delay: func(int) time.Duration { return 10 * time.Millisecond }}
	onTestNet(t, func(n *testNet) {
		n.x.random = sameSocket()
		for range socketQueries / 2 {
			n.Run(func() {
				q := n.start("a", make(chan Reply, 1))
				n.x.flush()
				q.Cancel()
			})
		}
		n.wantAddr(n.ask("b"), exchangetest.TrueAddr)
		if len(s.Ports) != 1 || n.x.dropped.Load() != socketQueries/2 {
			t.Errorf("%d ports, %d messages dropped", len(s.Ports), n.x.dropped.Load())
		}
	}, s)
}
