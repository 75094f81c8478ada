package dns

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A testNet has a client's loop, and servers.
type testNet struct {
	t       *testing.T
	net     *looptest.Network
	client  *looptest.Host
	loop    *loop.Loop
	x       *exchanger
	policy  policy
	servers []*testServer
}

// onTestNet runs f in a bubble, with the servers on hosts of their own.
func onTestNet(t *testing.T, f func(n *testNet), servers ...*testServer) {
	t.Helper()
	onTestNetOf(t, looptest.Config{}, f, servers...)
}

func onTestNetOf(t *testing.T, c looptest.Config, f func(n *testNet), servers ...*testServer) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := looptest.New(t, c)
		n := &testNet{t: t, net: network, client: network.Host(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::1")), servers: servers}
		n.policy = policy{timeout: 5 * time.Second, attempts: 2}
		for i, s := range servers {
			s.t = t
			s.start(network.Host(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})))
			n.policy.servers = append(n.policy.servers, s.addr)
		}
		n.loop = n.client.NewGroup(loop.Config{}).Loops()[0]
		n.x = newExchanger(n.loop, n.client, limits{queries: maxQueries, sockets: socketsPerServer})
		f(n)
		n.run(func() { n.x.close() })
		time.Sleep(time.Second)
		n.run(func() {
			n.checkUnused()
		})
		for _, s := range servers {
			if s.conn != nil {
				s.conn.Close()
			}
		}
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors are open after close", open)
		}
	})
}

// checkUnused checks on the loop that the exchanger has nothing in progress, or open.
func (n *testNet) checkUnused() {
	n.t.Helper()
	x := n.x
	if x.queries.n != 0 || x.queries.first != nil || x.queries.last != nil || x.alarms.wheel.Len() != 0 {
		n.t.Errorf("a closed exchanger has %d queries, %d alarms", x.queries.n, x.alarms.wheel.Len())
	}
	failing := 0
	for _, s := range x.servers {
		if s.open != 0 || s.inFlight != 0 || s.alone != 0 || s.queued() != 0 || s.nowInFlight.Load() != 0 || s.nowQueued.Load() != 0 {
			n.t.Errorf("server %v has %d sockets and streams, %d alone, %d transmissions, %d queued", s.addr, s.open, s.alone, s.inFlight, s.queued())
		}
		if s.failing {
			failing++
		}
	}
	if failing != x.failing {
		n.t.Errorf("%d servers fail, the exchanger has counted %d", failing, x.failing)
	}
}

// run runs f on the loop, and waits for it.
func (n *testNet) run(f func()) {
	done := make(chan struct{})
	if err := n.loop.Run(func() { defer close(done); f() }); err != nil {
		n.t.Fatal(err)
	}
	<-done
}

// ask asks for the A records of name.
func (n *testNet) ask(name string) reply {
	n.t.Helper()
	replies := make(chan reply, 2)
	n.run(func() { n.start(name, replies) })
	r := <-replies
	time.Sleep(time.Nanosecond) // lets the loop run
	if len(replies) > 0 {
		n.t.Error("done was called twice")
	}
	return r
}

func (n *testNet) start(name string, replies chan<- reply) *query {
	question := dnswire.Question{Name: must(dnswire.ParseName(name)), Type: dnswire.TypeA}
	return n.x.ask(question, &n.policy, func(r reply) { replies <- r })
}

// wantAddr checks that r is a positive answer with one address.
func (n *testNet) wantAddr(r reply, want string) {
	n.t.Helper()
	if r.err != nil {
		n.t.Fatalf("error %v, want the address %s; steps %v", r.err, want, r.steps)
	}
	if as := r.response.Answers(); len(as) != 1 || as[0].Addr.String() != want {
		n.t.Fatalf("records %v, want the address %s", r.response.Records, want)
	}
}
