package exchange

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// startMany starts so many queries in one function of the loop.
func (n *testNet) startMany(count int, replies chan Reply) (all []*Query) {
	n.Run(func() {
		for range count {
			all = append(all, n.start("www.example.com", replies))
		}
	})
	return all
}

// unsent returns how many queries are in outboxes.
func (n *testNet) unsent() (count int) {
	for _, s := range n.x.servers {
		for _, u := range s.sockets {
			if u != nil {
				count += len(u.unsent)
			}
		}
	}
	return count
}

// The queries of one turn are sent together after it, except those that were canceled.
func TestBatch(t *testing.T) {
	const queries = 5 * sendBatch
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		replies := make(chan Reply, queries)
		n.Run(func() {
			for i := range queries {
				if q := n.start("www.example.com", replies); i%5 == 0 {
					q.Cancel()
				}
			}
			if got := n.unsent(); got != queries {
				t.Errorf("%d queries are unsent in the turn of their start, want %d", got, queries)
			}
		})
		for range queries / 5 * 4 {
			n.wantAddr(<-replies, exchangetest.TrueAddr)
		}
		time.Sleep(time.Second)
		if s.Queries[0] != queries/5*4 || n.unsent() != 0 || len(replies) != 0 {
			t.Errorf("%d queries were sent, %d are unsent, %d more replies", s.Queries[0], n.unsent(), len(replies))
		}
	}, s)
}

// If a socket has no buffer, its queries are sent soon, each once, and in whole.
func TestBatchWouldBlock(t *testing.T) {
	const queries = 3 * sendBatch
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.Network.SetFaults(looptest.Faults{WouldBlock: 0.5})
		for range 10 {
			replies := make(chan Reply, queries)
			n.startMany(queries, replies)
			for range queries {
				r := <-replies
				n.wantAddr(r, exchangetest.TrueAddr)
				if len(r.Steps) != 0 {
					t.Errorf("steps %v", r.Steps)
				}
			}
		}
		n.Network.SetFaults(looptest.Faults{})
		if s.Queries[0] != 10*queries {
			t.Errorf("%d queries, want %d", s.Queries[0], 10*queries)
		}
	}, s)
}

// The refusal of an earlier query may be reported to a later send: it ends the attempts of all queries on the socket.
func TestBatchRefused(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.policy.Servers = []netip.AddrPort{netip.AddrPortFrom(s.Addr.Addr(), 54), s.Addr}
		const queries = 3 * sendBatch
		replies := make(chan Reply, queries)
		began := time.Now()
		n.startMany(queries, replies)
		for range queries {
			r := <-replies
			n.wantAddr(r, exchangetest.TrueAddr)
			if len(r.Steps) != 1 || !errors.Is(r.Steps[0].Err, syscall.ECONNREFUSED) {
				t.Errorf("steps %v", r.Steps)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
	}, s)
}

// With many queries in flight there are so many sockets that the responses fit into their buffers.
func TestMoreSockets(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		const queries = 3000
		replies := make(chan Reply, queries)
		n.startMany(queries, replies)
		for range queries {
			n.wantAddr(<-replies, exchangetest.TrueAddr)
		}
		if want := queries / queriesPerSocket; len(s.Ports) < want/2 || len(s.Ports) > want+2 {
			t.Errorf("%d ports, want about %d", len(s.Ports), want)
		}
	}, s)
}
