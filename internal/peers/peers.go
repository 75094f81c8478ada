// Package peers remembers the peer addresses of recent connections.
package peers

import (
	"net/netip"
	"sync"
)

// Max is how many connections a Recent remembers: twice as many as a listener delivers in a turn
// of its loop, for a reset is received in the turn after that.
const Max = 128

// Recent has the peer addresses of the Max connections that were added last. The kernel does
// not report the address of a connection that was reset, and if that was before it was accepted, only
// accept(2) returns it. The methods may be called from any goroutine.
type Recent struct {
	mu  sync.Mutex
	at  int // index of the next entry
	all [Max]struct {
		id   uintptr
		addr netip.AddrPort
	}
}

// Add adds a connection. Its id, which must not be 0, identifies it without a reference to it: a
// later connection may get the same one, and replaces it. The zero addr stands for one that is
// not known.
func (r *Recent) Add(id uintptr, addr netip.AddrPort) {
	r.mu.Lock()
	r.all[r.at].id, r.all[r.at].addr = id, addr
	r.at = (r.at + 1) % Max
	r.mu.Unlock()
}

// Lookup returns the address of the connection that was last added with id, or the zero AddrPort
// if it is not known.
func (r *Recent) Lookup(id uintptr) netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.all {
		if e := &r.all[(r.at+Max-1-i)%Max]; e.id == id { // latest first
			return e.addr
		}
	}
	return netip.AddrPort{}
}
