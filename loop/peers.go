package loop

import (
	"net"
	"net/netip"
	"sync"
	"unsafe"
)

// recentPeers keeps the peer addresses of a loop's most recent connections. The kernel reports
// the address of a connection later, too, unless the connection was reset before it was
// accepted: then only accept(2) returns it.
type recentPeers struct {
	mu  sync.Mutex
	at  int // index of the next entry
	all [maxRecentPeers]struct {
		id   uintptr
		addr netip.AddrPort
	}
}

// peerID identifies a connection without a reference to it. A later connection may get the same
// number, but each accepted connection is added, and lookup returns the latest entry.
func peerID(c *Conn) uintptr { return uintptr(unsafe.Pointer(c)) }

// maxRecentPeers is twice as many connections as a listener delivers in a turn: the reset is
// received in the next turn.
const maxRecentPeers = 128

func (p *recentPeers) add(c *Conn, addr netip.AddrPort) {
	p.mu.Lock()
	p.all[p.at].id, p.all[p.at].addr = peerID(c), addr
	p.at = (p.at + 1) % maxRecentPeers
	p.mu.Unlock()
}

func (p *recentPeers) lookup(c *Conn) net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.all {
		e := &p.all[(p.at+maxRecentPeers-1-i)%maxRecentPeers] // latest first
		if e.id == peerID(c) && e.addr.IsValid() {
			return net.TCPAddrFromAddrPort(e.addr)
		} else if e.id == peerID(c) {
			return nil
		}
	}
	return nil
}
