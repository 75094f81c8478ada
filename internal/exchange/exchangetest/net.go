package exchangetest

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A Net is a simulated network with a client's host, and servers.
type Net struct {
	T       *testing.T
	Network *looptest.Network
	Client  *looptest.Host
	Loop    *loop.Loop // of the client
	Servers []*Server
}

// OnNet runs f in a bubble, with the servers on hosts of their own. f must release what the client has opened.
func OnNet(t *testing.T, c looptest.Config, f func(n *Net), servers ...*Server) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := looptest.New(t, c)
		n := &Net{T: t, Network: network, Client: network.Host(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::1")), Servers: servers}
		for i, s := range servers {
			s.t = t
			s.start(network.Host(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})))
		}
		n.Loop = n.Client.NewGroup(loop.Config{}).Loops()[0]
		f(n)
		time.Sleep(time.Second) // what is closed takes a few turns
		for _, s := range servers {
			if s.conn != nil {
				s.conn.Close()
			}
		}
		if open := n.Client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors are open", open)
		}
	})
}

// Addrs returns the addresses of the servers.
func (n *Net) Addrs() []netip.AddrPort {
	all := make([]netip.AddrPort, len(n.Servers))
	for i, s := range n.Servers {
		all[i] = s.Addr
	}
	return all
}

// Run runs f on the loop, and waits for it.
func (n *Net) Run(f func()) {
	done := make(chan struct{})
	if err := n.Loop.Run(func() { defer close(done); f() }); err != nil {
		n.T.Fatal(err)
	}
	<-done
}
