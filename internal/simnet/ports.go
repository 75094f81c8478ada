package simnet

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// The range of ephemeral ports (ip_local_port_range, ip(7)).
const firstEphemeral, lastEphemeral = 32768, 60999

// A port is a local port of one protocol.
type port struct {
	protocol uint8 // tcp or udp
	number   uint16
}

const tcp, udp = 0, 1

// portOf returns a port of the socket's protocol.
func (s *Socket) portOf(number uint16) port {
	if s.typ == sys.SOCK_DGRAM {
		return port{udp, number}
	}
	return port{tcp, number}
}

// bindLocked gives an IP socket a local address. With port 0 it chooses an ephemeral port.
func (h *Host) bindLocked(s *Socket, a netip.AddrPort) syscall.Errno {
	switch ip := a.Addr(); {
	case s.local.ip.Port() != 0:
		return syscall.EINVAL
	case !ip.IsUnspecified() && !ip.IsMulticast() && !h.hasAddr(ip) && !(s.typ == sys.SOCK_DGRAM && isBroadcast(ip)):
		return syscall.EADDRNOTAVAIL
	}
	number := a.Port()
	if number == 0 {
		var ok bool
		if number, ok = h.ephemeralLocked(s, a.Addr()); !ok {
			return syscall.EADDRINUSE
		}
	} else if !h.portIsFreeLocked(s, a) {
		return syscall.EADDRINUSE
	}
	s.local.ip = netip.AddrPortFrom(a.Addr(), number)
	p := s.portOf(number)
	h.ports[p] = append(h.ports[p], s)
	return 0
}

// unbindLocked frees the address of a socket that is closed.
func (h *Host) unbindLocked(s *Socket) {
	delete(h.sockets, s)
	if name := s.local.name; name != "" && h.names[name] == s {
		delete(h.names, name)
	}
	h.freePortLocked(s)
}

// freePortLocked frees the port of an IP socket.
func (h *Host) freePortLocked(s *Socket) {
	p := s.portOf(s.local.ip.Port())
	if all := h.ports[p]; len(all) > 1 {
		h.ports[p] = slices.DeleteFunc(all, func(other *Socket) bool { return other == s })
	} else if len(all) == 1 && all[0] == s {
		delete(h.ports, p)
	}
}

// ephemeralLocked returns the next ephemeral port that is free.
func (h *Host) ephemeralLocked(s *Socket, ip netip.Addr) (number uint16, ok bool) {
	last := &h.ephemeral[s.portOf(0).protocol]
	for range lastEphemeral - firstEphemeral + 1 {
		*last++
		if *last > lastEphemeral || *last < firstEphemeral {
			*last = firstEphemeral
		}
		if len(h.ports[s.portOf(*last)]) == 0 {
			return *last, true
		}
	}
	return 0, false
}

// portIsFreeLocked reports whether s may be bound to a: no other socket is, or both have SO_REUSEPORT,
// or both have SO_REUSEADDR and do not listen.
func (h *Host) portIsFreeLocked(s *Socket, a netip.AddrPort) bool {
	for _, other := range h.ports[s.portOf(a.Port())] {
		switch {
		case !overlap(s, a.Addr(), other):
		case s.options.reusePort && other.options.reusePort:
		case s.options.reuseAddr && other.options.reuseAddr && !other.listens():
		default:
			return false
		}
	}
	return true
}

// overlap reports whether s, bound to ip, and other would have an address in common.
func overlap(s *Socket, ip netip.Addr, other *Socket) bool {
	theirs := other.local.ip.Addr()
	switch {
	case ip == theirs:
		return true
	case ip.IsUnspecified() && s.serves(ip, theirs):
		return true
	}
	return theirs.IsUnspecified() && other.serves(theirs, ip)
}

// serves reports whether s, bound to the unspecified address local, has the address ip.
func (s *Socket) serves(local, ip netip.Addr) bool {
	return local.Is4() == ip.Is4() || local.Is6() && !s.options.v6only
}

// isBoundTo reports whether what is sent to ip reaches s.
func (s *Socket) isBoundTo(ip netip.Addr) bool {
	local := s.local.ip.Addr()
	return local == ip || local.IsUnspecified() && s.serves(local, ip)
}

// addressOf converts an address for the socket's family.
func (s *Socket) addressOf(a *sys.Sockaddr) (address, syscall.Errno) {
	switch family := a.Family(); {
	case family == sys.AF_UNSPEC:
		return address{}, 0
	case s.family == sys.AF_UNIX && family == sys.AF_UNIX:
		if a.Unix() == "" {
			return address{}, syscall.EINVAL
		}
		return address{name: a.Unix()}, 0
	case s.family == sys.AF_UNIX:
		return address{}, syscall.EINVAL
	case s.family == sys.AF_INET6 && family == sys.AF_INET:
		return address{}, syscall.EINVAL // it is too short
	case s.family != family:
		return address{}, syscall.EAFNOSUPPORT
	}
	ap := a.AddrPort()
	if s.family == sys.AF_INET6 && s.options.v6only && ap.Addr().Is4() {
		return address{}, syscall.ENETUNREACH
	}
	return address{ip: netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port())}, 0
}

// sockaddr converts an address of the socket or of its peer to the form that calls return.
func (s *Socket) sockaddr(a address) (to sys.Sockaddr) {
	if s.family == sys.AF_UNIX {
		to.SetUnix(a.name)
		return to
	}
	ap := a.ip
	if !ap.IsValid() {
		ip := netip.IPv4Unspecified()
		if s.family == sys.AF_INET6 {
			ip = netip.IPv6Unspecified()
		}
		ap = netip.AddrPortFrom(ip, 0)
	}
	to.SetAddrPort(ap, s.family)
	return to
}
