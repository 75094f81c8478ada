package addrorder

import (
	"net/netip"
	"runtime"
	"sync"

	"github.com/pollux-io/pollux/sock"
)

const (
	// maxSorted is how many addresses are sorted at most: each costs system calls.
	maxSorted = 32
	// maxProbes is how many probes are kept: as many as loops that sort at the same time.
	maxProbes = 8
)

// A Sorter sorts addresses as seen from a network. It keeps sockets between calls. Its methods may be called from any
// goroutine, and do not wait. The zero Sorter is ready for use.
type Sorter struct {
	mu     sync.Mutex // guards what follows
	free   []*probe   // of the operating system's network, not in use: at most maxProbes
	closed bool
}

// Sort sorts addresses in place, as the function Sort, as seen from a network; nil is the operating system's. More than
// maxSorted keep their order.
func (s *Sorter) Sort(network sock.Network, addrs []netip.Addr) {
	if len(addrs) < 2 || len(addrs) > maxSorted {
		return
	}
	if network != nil || runtime.GOOS != "linux" {
		p := probe{network: network}
		defer p.close()
		Sort(addrs, p.source)
		return
	}
	p := s.get()
	defer s.put(p)
	Sort(addrs, p.source)
}

// A probe finds the source address for a destination: it connects a UDP socket, which sends nothing, and asks for the
// socket's own address. Its sockets serve one destination after the other: that saves half the system calls. Linux
// forgets the source address when a socket is disconnected (AF_UNSPEC, connect(2)), so it finds another one then; it
// is not known of all other systems, where each probe is used once.
type probe struct {
	network sock.Network
	sockets [2]*sock.UDPSocket // for IPv4 and IPv6; nil until needed
}

// source returns the source address for dst, or the zero Addr if there is no route, or no descriptor.
func (p *probe) source(dst netip.Addr) netip.Addr {
	const discard = 9 // any port
	to := netip.AddrPortFrom(dst, discard)
	u := &p.sockets[0]
	if dst.Is6() && !dst.Is4In6() {
		u = &p.sockets[1]
	}
	if *u == nil {
		s, err := sock.ConnectUDP(to, sock.OnNetwork(p.network))
		if err != nil {
			return netip.Addr{}
		}
		*u = s
		return s.LocalAddr().Addr()
	}
	if (*u).Disconnect() != nil {
		(*u).Close()
		*u = nil
		return p.source(dst)
	}
	if (*u).Connect(to) != nil {
		return netip.Addr{}
	}
	return (*u).LocalAddr().Addr()
}

func (p *probe) close() {
	for _, u := range p.sockets {
		if u != nil {
			u.Close()
		}
	}
}

func (s *Sorter) get() *probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p
	}
	return &probe{}
}

func (s *Sorter) put(p *probe) {
	s.mu.Lock()
	keep := !s.closed && len(s.free) < maxProbes
	if keep {
		s.free = append(s.free, p)
	}
	s.mu.Unlock()
	if !keep {
		p.close()
	}
}

// Close closes the sockets; those in use when Sort returns.
func (s *Sorter) Close() {
	s.mu.Lock()
	free := s.free
	s.free, s.closed = nil, true
	s.mu.Unlock()
	for _, p := range free {
		p.close()
	}
}
