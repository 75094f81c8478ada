package dns

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A canceled query has no reply, and leaves nothing behind: wherever it is.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 150 * time.Millisecond, 6 * time.Second} {
		for _, tcp := range []bool{false, true} {
			silent := &testServer{udp: silent, tcp: func(net.Conn, []byte) {}}
			onTestNet(t, func(n *testNet) {
				n.net.SetLink(n.client, silent.host, looptest.Link{Latency: 100 * time.Millisecond})
				n.policy.tcp = tcp
				replies := make(chan reply, 1)
				var q *query
				n.run(func() { q = n.start("www.example.com", replies) })
				time.Sleep(after)
				n.run(func() { q.cancel(); q.cancel() })
				time.Sleep(time.Minute)
				if len(replies) > 0 || n.client.Descriptors() > 0 {
					t.Errorf("canceled after %v (TCP %v): %d replies, %d descriptors", after, tcp, len(replies), n.client.Descriptors())
				}
			}, silent)
		}
	}
}

// Connecting ends with the last query that waits for it.
func TestCancelConnecting(t *testing.T) {
	s := &testServer{udp: honest, tcp: honestTCP}
	onTestNet(t, func(n *testNet) {
		s.host.SetConnectPolicy(looptest.DropConnects)
		n.policy.tcp = true
		n.run(func() {
			a, b := n.start("a", nil), n.start("b", nil)
			a.cancel()
			if n.x.servers[0].open != 1 {
				t.Error("the connection was given up while a query waits for it")
			}
			b.cancel()
			if n.x.servers[0].open != 0 {
				t.Error("a connection is being opened that no query waits for")
			}
		})
		time.Sleep(time.Second)
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors are open", open)
		}
	}, s)
}

// A done function may start and cancel queries, close the exchanger, and panic.
func TestReentrant(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		question := dnswire.Question{Name: must(dnswire.ParseName("a")), Type: dnswire.TypeA}
		replies := make(chan reply, 10)
		var other *query
		n.run(func() {
			n.x.ask(question, &n.policy, func(r reply) {
				replies <- r
				other.cancel()
				n.start("b", replies)
				panic("a mistake of the caller")
			})
			n.start("c", replies)
			n.net.Partition(n.client, n.net.Host(netip.MustParseAddr("10.0.9.9")))
			other = n.x.ask(question, &policy{servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.9.9:53")}, timeout: time.Second, attempts: 1},
				func(reply) { t.Error("a canceled query has a reply") })
		})
		for range 3 {
			n.wantAddr(<-replies, trueAddr)
		}
		n.run(func() {
			for range 5 {
				n.x.ask(question, &n.policy, func(reply) { panic("another mistake") })
			}
			n.start("d", replies)
			n.x.close()
			n.start("e", replies)
		})
		for range 2 {
			if r := <-replies; !errors.Is(r.err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", r.err)
			}
		}
	}, s)
}
