package addrorder

import (
	"net/netip"

	"github.com/pollux-io/pollux/sock"
)

// maxSorted is how many addresses are sorted at most: each costs a socket.
const maxSorted = 32

// SortOn sorts addresses in place, as Sort, as seen from a network; nil is the operating system's. Connecting a UDP
// socket, which sends nothing, finds the source address. More than maxSorted keep their order.
func SortOn(network sock.Network, addrs []netip.Addr) {
	if len(addrs) > maxSorted {
		return
	}
	Sort(addrs, func(dst netip.Addr) netip.Addr {
		const discard = 9
		u, err := sock.ConnectUDP(netip.AddrPortFrom(dst, discard), sock.OnNetwork(network))
		if err != nil {
			return netip.Addr{}
		}
		defer u.Close()
		return u.LocalAddr().Addr()
	})
}
