package simnet

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// Broadcast and multicast. All hosts are on one link: what is sent to a group, or to
// 255.255.255.255, goes to every host that has an address of the family. 127.255.255.255 is the
// broadcast address of the loopback interface.

var (
	limitedBroadcast  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	loopbackBroadcast = netip.AddrFrom4([4]byte{127, 255, 255, 255})
)

func isBroadcast(ip netip.Addr) bool { return ip == limitedBroadcast || ip == loopbackBroadcast }

// toMany reports whether a datagram to ip may reach several sockets.
func toMany(ip netip.Addr) bool { return ip.IsMulticast() || isBroadcast(ip) }

// sourceToManyLocked returns the address that datagrams of h to a group or a broadcast address are
// from. A host without an address of the family sends them to itself only.
func (h *Host) sourceToManyLocked(to netip.Addr) netip.Addr {
	if to != loopbackBroadcast {
		for _, a := range h.addrs {
			if a.Is4() == to.Is4() {
				return a
			}
		}
	}
	if to.Is4() {
		return loopback4
	}
	return loopback6
}

// toManyLocked sends a datagram to a group or a broadcast address.
func (d *datagramSocket) toManyLocked(bufs [][]byte, from, to netip.AddrPort) {
	own := d.s.host
	onlyOwn := from.Addr().IsLoopback()
	toOwn := true
	if ip, o := to.Addr(), &d.s.options; ip.IsMulticast() {
		hops := o.multicastTTL
		toOwn = o.multicastLoop
		if ip.Is6() {
			hops, toOwn = o.multicastHops, o.multicastLoop6
		}
		toOwn = toOwn || onlyOwn // the loopback interface delivers what is sent on it
		onlyOwn = onlyOwn || hops == 0
	}
	for _, h := range own.n.hosts {
		switch {
		case h == own && !toOwn, h != own && (onlyOwn || !h.hasFamily(to.Addr())):
		default:
			d.datagramLocked(bufs, from, to, h)
		}
	}
}

func (h *Host) hasFamily(of netip.Addr) bool {
	return slices.ContainsFunc(h.addrs, func(a netip.Addr) bool { return a.Is4() == of.Is4() })
}

// receiveForManyLocked delivers a datagram to every socket that is bound to its destination. A
// socket on all addresses receives what is sent to any group that the host is in, also one that
// another socket has joined (IP_MULTICAST_ALL, ip(7)).
func (h *Host) receiveForManyLocked(p *packet) {
	if ip := p.dst.ip.Addr(); ip.IsMulticast() && !h.isInGroupLocked(ip) {
		return
	}
	// A watcher that is called may not change the sockets: the list stays as it is.
	for _, s := range h.ports[port{udp, p.dst.ip.Port()}] {
		d := s.protocol.(*datagramSocket)
		if !d.takesLocked(p) {
			continue
		}
		if c := h.n.cloneLocked(p); !d.queueLocked(c) {
			h.n.freeLocked(c)
		}
	}
}

func (h *Host) isInGroupLocked(group netip.Addr) bool {
	for s := range h.sockets {
		if d, ok := s.protocol.(*datagramSocket); ok && slices.Contains(d.groups, group) {
			return true
		}
	}
	return false
}

// membershipLocked ignores the interface: a host has one.
func (d *datagramSocket) membershipLocked(group netip.Addr, _ int, join bool) syscall.Errno {
	i := slices.Index(d.groups, group)
	switch {
	case !group.IsMulticast():
		return syscall.EINVAL
	case d.s.family == sys.AF_INET && !group.Is4():
		return syscall.ENOPROTOOPT
	case join && i >= 0:
		return syscall.EADDRINUSE
	case join && group.Is4() && len(d.groups) >= maxGroups4:
		return syscall.ENOBUFS
	case join:
		d.groups = append(d.groups, group)
	case i < 0:
		return syscall.EADDRNOTAVAIL
	default:
		d.groups = slices.Delete(d.groups, i, i+1)
	}
	return 0
}
