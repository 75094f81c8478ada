package dns

import (
	"slices"
	"testing"
	"time"
)

// A flood of forged messages takes a bounded part of each turn, and ends with the socket: the query goes on over
// TCP, before a forger has tried many IDs.
func TestFlood(t *testing.T) {
	const flood, asked = 100_000, 300
	s := &testServer{udp: honest, tcp: honestTCP}
	onTestNet(t, func(n *testNet) {
		n.x.random = sameSocket()
		for range asked {
			n.ask("a")
		}
		s.udp = func(q []byte) []answer {
			all := make([]answer, flood)
			for i := range all {
				all[i] = withID(q)
			}
			return append(all, truth(q))
		}
		replies := make(chan reply, 1)
		n.run(func() { n.start("b", replies) })
		most, last, turns := uint64(0), uint64(0), 0
		var r reply
		for r.err == nil && r.path == "" {
			n.run(func() { // one function is run in each turn
				now := n.x.dropped.Load()
				most, last, turns = max(most, now-last), now, turns+1
			})
			select {
			case r = <-replies:
			default:
			}
		}
		n.wantAddr(r, trueAddr)
		if !r.tcp || len(r.steps) > 0 {
			t.Errorf("over TCP: %v, steps %v", r.tcp, r.steps)
		}
		if most > maxBatches*receiveBatch || most == 0 {
			t.Errorf("%d messages in one of %d turns, want %d at most", most, turns, maxBatches*receiveBatch)
		}
		time.Sleep(time.Second)
		if guesses := n.x.dropped.Load(); guesses > asked+1+spareStrays+1 {
			t.Errorf("%d guesses", guesses)
		}
		if r := n.ask("c"); !r.tcp || r.err != nil { // the forger finds each port anew
			t.Errorf("over TCP: %v, %v", r.tcp, r.err)
		}
	}, s)
}

// sameSocket returns a source of numbers that choose the same of the sockets, and one ID after the other.
func sameSocket() func() uint64 {
	calls := uint64(0)
	return func() uint64 { calls += socketsPerServer; return calls }
}

// Without TCP, a flood costs attempts, and nothing else.
func TestFloodWithoutTCP(t *testing.T) {
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		if s.queries[0] > 1 {
			return honest(q)
		}
		return slices.Repeat([]answer{withID(q)}, 2*spareStrays)
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if len(r.steps) != 1 || !r.steps[0].TCP || s.queries[0] != 2 || len(s.ports) != 2 {
			t.Errorf("steps %v, %d queries from %d ports", r.steps, s.queries[0], len(s.ports))
		}
	}, s)
}

// Late answers, and those to canceled queries, are not taken for a flood.
func TestManyLateAnswers(t *testing.T) {
	s := &testServer{udp: honest, delay: func(int) time.Duration { return 10 * time.Millisecond }}
	onTestNet(t, func(n *testNet) {
		n.x.random = sameSocket()
		for range socketQueries / 2 {
			n.run(func() {
				q := n.start("a", make(chan reply, 1))
				n.x.flush()
				q.cancel()
			})
		}
		n.wantAddr(n.ask("b"), trueAddr)
		if len(s.ports) != 1 || n.x.dropped.Load() != socketQueries/2 {
			t.Errorf("%d ports, %d messages dropped", len(s.ports), n.x.dropped.Load())
		}
	}, s)
}
