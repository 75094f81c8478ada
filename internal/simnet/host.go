package simnet

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// A Host is a host of a network: it has addresses, sockets, and a limit of descriptors.
type Host struct {
	n       *Network
	number  int          // in the order in which hosts were made, from 1
	actors  int          // that were made on the host
	loops   int          // that run on the host
	addrs   []netip.Addr // without those of the loopback interface
	down    bool         // crashed: what arrives is lost
	boot    int          // how often it has crashed
	sockets map[*Socket]struct{}
	ports   map[port][]*Socket // bound, by protocol and port
	names   map[string]*Socket // bound Unix sockets
	// ephemeral is the ephemeral port that was used last.
	ephemeral      [2]uint16 // by protocol: see port
	descriptors    int       // open now
	maxDescriptors int
	connects       ConnectPolicy
	faults         Faults
}

var _ sys.Kernel = (*Host)(nil)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// Host makes a host with the addresses, or with the next of 10.0.0.1, 10.0.0.2… that is free. Every
// host has 127.0.0.1 and ::1, too. It panics if an address is invalid or another host has it.
func (n *Network) Host(addrs ...netip.Addr) *Host {
	h, err := n.NewHost(addrs...)
	if err != nil {
		panic("simnet: " + err.Error())
	}
	return h
}

// NewHost is Host that returns an error.
func (n *Network) NewHost(addrs ...netip.Addr) (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(addrs) == 0 {
		addrs = []netip.Addr{n.freeAddrLocked()}
	}
	h := &Host{
		n: n, sockets: map[*Socket]struct{}{}, ports: map[port][]*Socket{}, names: map[string]*Socket{},
		maxDescriptors: math.MaxInt, ephemeral: [2]uint16{lastEphemeral, lastEphemeral},
		faults: n.config.Faults,
	}
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return nil, fmt.Errorf("%v is not a valid address for a host: it must not be a loopback, multicast or unspecified one", a)
		}
		if n.byAddr[a] != nil {
			return nil, fmt.Errorf("another host has the address %v", a)
		}
		h.addrs = append(h.addrs, a)
	}
	for _, a := range h.addrs {
		n.byAddr[a] = h
	}
	n.hosts = append(n.hosts, h)
	h.number = len(n.hosts)
	return h, nil
}

func (n *Network) freeAddrLocked() netip.Addr {
	a := netip.AddrFrom4([4]byte{10, 0, 0, 1})
	for n.byAddr[a] != nil {
		a = a.Next()
	}
	return a
}

// Addr returns the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// String returns the host's first address, or "nowhere" for nil.
func (h *Host) String() string {
	if h == nil {
		return "nowhere"
	}
	return h.addrs[0].String()
}

// Network returns the network of h.
func (h *Host) Network() *Network { return h.n }

// SetMaxDescriptors sets how many descriptors may be open at a time; opening one more is EMFILE.
func (h *Host) SetMaxDescriptors(max int) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.maxDescriptors = max
}

// Descriptors returns how many descriptors are open.
func (h *Host) Descriptors() int {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.descriptors
}

func (h *Host) mayOpenLocked() syscall.Errno {
	switch {
	case h.n.closed || h.down:
		return syscall.ENETDOWN
	case h.descriptors >= h.maxDescriptors:
		return syscall.EMFILE
	}
	return h.descriptorFaultLocked()
}

// Socket is socket(2).
func (h *Host) Socket(family, typ int) (sys.FD, syscall.Errno) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if e := h.mayOpenLocked(); e != 0 {
		return sys.InvalidFD, e
	}
	s, e := h.newSocketLocked(family, typ)
	if e != 0 {
		return sys.InvalidFD, e
	}
	return s.openLocked(), 0
}

// newSocketLocked returns a socket that has no descriptor yet.
func (h *Host) newSocketLocked(family, typ int) (*Socket, syscall.Errno) {
	s := &Socket{host: h, family: family, typ: typ, options: defaultOptions(family, typ)}
	switch {
	case family != sys.AF_INET && family != sys.AF_INET6 && family != sys.AF_UNIX:
		return nil, syscall.EAFNOSUPPORT
	case typ == sys.SOCK_STREAM:
		s.protocol = newStream(s)
	case typ == sys.SOCK_DGRAM && family != sys.AF_UNIX:
		s.protocol = newDatagramSocket(s)
	default:
		return nil, syscall.EPROTONOSUPPORT
	}
	h.addLocked(s)
	return s, 0
}

// addLocked adds a new socket.
func (h *Host) addLocked(s *Socket) {
	h.n.sockets++
	s.number = h.n.sockets
	h.sockets[s] = struct{}{}
}

// Crash makes the host vanish: its sockets end without a packet, and what is sent to it is lost. Calls
// on its sockets are ENETDOWN, for ever; they must be closed nevertheless.
func (h *Host) Crash() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.down = true
	h.boot++ // ends connections whose sockets are closed, too
	h.loseSocketsLocked()
}

// Restart ends what Crash has begun. Packets of connections that existed before get a reset.
func (h *Host) Restart() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.down = false
}

// loseSocketsLocked ends all sockets, in the order of their making.
func (h *Host) loseSocketsLocked() {
	for _, s := range slices.SortedFunc(maps.Keys(h.sockets), func(a, b *Socket) int { return cmp.Compare(a.number, b.number) }) {
		if !s.lost {
			s.loseLocked()
		}
	}
}

// receiveLocked delivers a packet to its socket. It reports whether the socket keeps it.
func (h *Host) receiveLocked(p *packet) (kept bool) {
	if p.peer != nil {
		return p.peer.protocol.receiveLocked(p)
	}
	switch p.kind {
	case synPacket:
		return h.receiveSYNLocked(p)
	case datagramPacket:
		return h.receiveDatagramLocked(p)
	}
	return false
}

// routeLocked returns the host that has an address, as seen from h, and the address from which h sends
// to it. The host is nil if no host has the address.
func (h *Host) routeLocked(to netip.Addr) (dst *Host, from netip.Addr, e syscall.Errno) {
	to = to.WithZone("")
	switch {
	case to.IsLoopback() && to.Is4():
		return h, loopback4, 0
	case to.IsLoopback():
		return h, loopback6, 0
	}
	dst = h.n.byAddr[to]
	if dst == h {
		return h, to, 0
	}
	for _, a := range h.addrs {
		if a.Is4() == to.Is4() {
			return dst, a, 0
		}
	}
	return nil, netip.Addr{}, syscall.ENETUNREACH
}

// hasAddr reports whether a is one of the host's addresses.
func (h *Host) hasAddr(a netip.Addr) bool { return a.IsLoopback() || h.n.byAddr[a] == h }
