package exchange

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A canceled query has no reply, and leaves nothing behind: wherever it is.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 150 * time.Millisecond, 6 * time.Second} {
		for _, tcp := range []bool{false, true} {
			silent := &exchangetest.Server{UDP: exchangetest.Silent, TCP: func(net.Conn, []byte) {}}
			onTestNet(t, func(n *testNet) {
				n.Network.SetLink(n.Client, silent.Host, looptest.Link{Latency: 100 * time.Millisecond})
				n.policy.TCP = tcp
				replies := make(chan Reply, 1)
				var q *Query
				n.Run(func() { q = n.start("www.example.com", replies) })
				time.Sleep(after)
				n.Run(func() { q.Cancel(); q.Cancel() })
				time.Sleep(time.Minute)
				if len(replies) > 0 || n.Client.Descriptors() > 0 {
					t.Errorf("canceled after %v (TCP %v): %d replies, %d descriptors", after, tcp, len(replies), n.Client.Descriptors())
				}
			}, silent)
		}
	}
}

// Connecting ends with the last query that waits for it.
func TestCancelConnecting(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest, TCP: exchangetest.HonestTCP}
	onTestNet(t, func(n *testNet) {
		s.Host.SetConnectPolicy(looptest.DropConnects)
		n.policy.TCP = true
		n.Run(func() {
			a, b := n.start("a", nil), n.start("b", nil)
			a.Cancel()
			if n.x.servers[0].open != 1 {
				t.Error("the connection was given up while a query waits for it")
			}
			b.Cancel()
			if n.x.servers[0].open != 0 {
				t.Error("a connection is being opened that no query waits for")
			}
		})
		time.Sleep(time.Second)
		if open := n.Client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors are open", open)
		}
	}, s)
}

// A done function may start and cancel queries, close the exchanger, and panic.
func TestReentrant(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		question := dnswire.Question{Name: must(dnswire.ParseName("a")), Type: dnswire.TypeA}
		replies := make(chan Reply, 10)
		var other *Query
		n.Run(func() {
			n.x.Ask(question, &n.policy, func(r Reply) {
				replies <- r
				other.Cancel()
				n.start("b", replies)
				panic("a mistake of the caller")
			})
			n.start("c", replies)
			n.Network.Partition(n.Client, n.Network.Host(netip.MustParseAddr("10.0.9.9")))
			other = n.x.Ask(question, &Policy{Servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.9.9:53")}, Timeout: time.Second, Attempts: 1},
				func(Reply) { t.Error("a canceled query has a reply") })
		})
		for range 3 {
			n.wantAddr(<-replies, exchangetest.TrueAddr)
		}
		n.Run(func() {
			for range 5 {
				n.x.Ask(question, &n.policy, func(Reply) { panic("another mistake") })
			}
			n.start("d", replies)
			n.x.Close()
			n.start("e", replies)
		})
		for range 2 {
			if r := <-replies; !errors.Is(r.Err, net.ErrClosed) {
				t.Errorf("%v, want net.ErrClosed", r.Err)
			}
		}
	}, s)
}
