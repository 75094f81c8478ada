package dns

import (
	"net/netip"

	"github.com/pollux-io/pollux/internal/addrorder"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// maxSorted is how many addresses are sorted at most: each costs a socket.
const maxSorted = 32

// sortAddrs sorts addresses in place by RFC 6724, as seen from the network of the loop l. Connecting a UDP
// socket, which sends nothing, finds the source address. More than maxSorted keep their order.
func sortAddrs(l *loop.Loop, addrs []netip.Addr) {
	if len(addrs) > maxSorted {
		return
	}
	addrorder.Sort(addrs, func(dst netip.Addr) netip.Addr {
		const discard = 9
		u, err := sock.ConnectUDP(netip.AddrPortFrom(dst, discard), sock.OnNetwork(l.Group().Config().Network))
		if err != nil {
			return netip.Addr{}
		}
		defer u.Close()
		return u.LocalAddr().Addr()
	})
}
