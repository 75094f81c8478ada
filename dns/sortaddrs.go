package dns

import (
	"net/netip"
	"runtime"
	"sync"

	"github.com/pollux-io/pollux/internal/addrorder"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

const (
	// maxSorted is how many addresses are sorted at most: each costs system calls.
	maxSorted = 32
	// maxProbes is how many probes are kept: as many as loops that sort at the same time.
	maxProbes = 8
)

// sortAddrs sorts addresses in place by RFC 6724, as seen from the network of the loop l. More than maxSorted keep
// their order.
func (r *Resolver) sortAddrs(l *loop.Loop, addrs []netip.Addr) {
	if len(addrs) < 2 || len(addrs) > maxSorted {
		return
	}
	network := l.Group().Config().Network
	if network != nil || runtime.GOOS != "linux" {
		p := probe{network: network}
		defer p.close()
		addrorder.Sort(addrs, p.source)
		return
	}
	p := r.probes.get()
	defer r.probes.put(p)
	addrorder.Sort(addrs, p.source)
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

// probes are those of the system's network that are not in use.
type probes struct {
	mu     sync.Mutex // guards what follows
	free   []*probe   // at most maxProbes
	closed bool
}

func (s *probes) get() *probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p
	}
	return &probe{}
}

func (s *probes) put(p *probe) {
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

// close closes the sockets; those in use are closed by put.
func (s *probes) close() {
	s.mu.Lock()
	free := s.free
	s.free, s.closed = nil, true
	s.mu.Unlock()
	for _, p := range free {
		p.close()
	}
}
