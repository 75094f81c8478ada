package netconn_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// testConn runs the tests of golang.org/x/net/nettest on connections of a group.
func testConn(t *testing.T, g *loop.Group, network string) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		c1, c2 := pair(t, g, network)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

// A Conn behaves as net.Conn demands, on every backend.
func TestConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			onBackends(t, func(t *testing.T, g *loop.Group) {
				if network == "unix" && !hasUnix(g) {
					t.Skip(noUnixOnWine)
				}
				testConn(t, g, network)
			})
		})
	}
}

// A Conn behaves as net.Conn demands on simulated networks, whose clock is the real one here: the tests measure time by it.
func TestConnSimulated(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for name, c := range map[string]looptest.Config{
			"plain":   {},
			"adverse": {Adversity: looptest.Adverse(), Faults: looptest.Faults{PartialReads: 0.3, PartialWrites: 0.3, WouldBlock: 0.2}},
		} {
			t.Run(network+"/"+name, func(t *testing.T) {
				testkit.CheckLeaks(t)
				host := looptest.New(t, c).Host(netip.MustParseAddr("10.0.0.1"))
				g := host.NewGroup(loop.Config{Loops: 2})
				testConn(t, g, network)
			})
		}
	}
}
