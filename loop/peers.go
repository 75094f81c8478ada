package loop

import (
	"net"
	"net/netip"
	"unsafe"

	"github.com/pollux-io/pollux/internal/peers"
)

// recentPeers has the peer addresses of a loop's most recent connections.
type recentPeers struct{ peers.Recent }

// peerID identifies a connection without a reference to it.
func peerID(c *Conn) uintptr { return uintptr(unsafe.Pointer(c)) }

func (p *recentPeers) add(c *Conn, addr netip.AddrPort) { p.Add(peerID(c), addr) }

func (p *recentPeers) lookup(c *Conn) net.Addr {
	if a := p.Lookup(peerID(c)); a.IsValid() {
		return net.TCPAddrFromAddrPort(a)
	}
	return nil
}
