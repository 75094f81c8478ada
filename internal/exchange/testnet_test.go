package exchange

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A testNet has an exchanger on the loop of a Net, and a policy with its servers.
type testNet struct {
	*exchangetest.Net
	x      *Exchanger
	policy Policy
}

// onTestNet runs f in a bubble, with the servers on hosts of their own.
func onTestNet(t *testing.T, f func(n *testNet), servers ...*exchangetest.Server) {
	t.Helper()
	onTestNetOf(t, looptest.Config{}, f, servers...)
}

func onTestNetOf(t *testing.T, c looptest.Config, f func(n *testNet), servers ...*exchangetest.Server) {
	t.Helper()
	exchangetest.OnNet(t, c, func(network *exchangetest.Net) {
		n := &testNet{Net: network, policy: Policy{Servers: network.Addrs(), Timeout: 5 * time.Second, Attempts: 2}}
		n.x = New(n.Loop, n.Client, Limits{Queries: DefaultQueries, Sockets: DefaultSockets})
		f(n)
		n.Run(func() { n.x.Close() })
		time.Sleep(time.Second)
		n.Run(n.checkUnused)
	}, servers...)
}

// checkUnused checks on the loop that the exchanger has nothing in progress, or open.
func (n *testNet) checkUnused() {
	n.T.Helper()
	x := n.x
	if x.queries.n != 0 || x.queries.first != nil || x.queries.last != nil || x.alarms.wheel.Len() != 0 {
		n.T.Errorf("a closed exchanger has %d queries, %d alarms", x.queries.n, x.alarms.wheel.Len())
	}
	n.checkServers(x.servers)
	failing := 0
	for _, s := range x.servers {
		if s.failing {
			failing++
		}
	}
	if failing != x.failing {
		n.T.Errorf("%d servers fail, the exchanger has counted %d", failing, x.failing)
	}
}

// checkServers checks on the loop that servers have nothing in progress, or open.
func (n *testNet) checkServers(servers []*server) {
	n.T.Helper()
	for _, s := range servers {
		if s.open != 0 || s.inFlight != 0 || s.alone != 0 || s.queued() != 0 || s.nowInFlight.Load() != 0 || s.nowQueued.Load() != 0 {
			n.T.Errorf("server %v has %d sockets and streams, %d alone, %d transmissions, %d queued", s.addr, s.open, s.alone, s.inFlight, s.queued())
		}
	}
}

// ask asks for the A records of name.
func (n *testNet) ask(name string) Reply {
	n.T.Helper()
	replies := make(chan Reply, 2)
	n.Run(func() { n.start(name, replies) })
	r := <-replies
	time.Sleep(time.Nanosecond) // lets the loop run
	if len(replies) > 0 {
		n.T.Error("done was called twice")
	}
	return r
}

func (n *testNet) start(name string, replies chan<- Reply) *Query {
	return n.x.Ask(questionFor(name), &n.policy, func(r Reply) { replies <- r })
}

func questionFor(name string) dnswire.Question {
	return dnswire.Question{Name: must(dnswire.ParseName(name)), Type: dnswire.TypeA}
}

// wantAddr checks that r is a positive answer with one address.
func (n *testNet) wantAddr(r Reply, want string) {
	n.T.Helper()
	if r.Err != nil {
		n.T.Fatalf("error %v, want the address %s; steps %v", r.Err, want, r.Steps)
	}
	if as := r.Response.Answers(); len(as) != 1 || as[0].Addr.String() != want {
		n.T.Fatalf("records %v, want the address %s", r.Response.Records, want)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
