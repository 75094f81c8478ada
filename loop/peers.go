package loop

import (
	"net"
	"net/netip"
	"sync"
	"unsafe"
)

// recentPeers keeps the addresses of the connections that a loop was given last. The system
// knows the address of each connection itself, but for one that was reset before it was
// accepted: of that, only accept(2) tells.
type recentPeers struct {
	mu  sync.Mutex
	at  int // where the next one goes
	all [maxRecentPeers]struct {
		id   uintptr
		addr netip.AddrPort
	}
}

// peerID is a number for a connection that keeps nothing of it in memory. A later one may get
// the same: of is for accepted ones, which all come to add, and takes the last.
func peerID(c *Conn) uintptr { return uintptr(unsafe.Pointer(c)) }

// maxRecentPeers is as many connections as a listener brings in a turn, and as many again:
// the next turn receives the reset.
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
		e := &p.all[(p.at+maxRecentPeers-1-i)%maxRecentPeers] // the last one first
		if e.id == peerID(c) && e.addr.IsValid() {
			return net.TCPAddrFromAddrPort(e.addr)
		} else if e.id == peerID(c) {
			return nil
		}
	}
	return nil
}
