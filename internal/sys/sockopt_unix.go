//go:build unix

package sys

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Levels and options that every Unix has.
const (
	SOL_SOCKET   = unix.SOL_SOCKET
	IPPROTO_IP   = unix.IPPROTO_IP
	IPPROTO_IPV6 = unix.IPPROTO_IPV6
	IPPROTO_TCP  = unix.IPPROTO_TCP

	SO_REUSEADDR = unix.SO_REUSEADDR
	SO_KEEPALIVE = unix.SO_KEEPALIVE
	SO_BROADCAST = unix.SO_BROADCAST
	SO_RCVBUF    = unix.SO_RCVBUF
	SO_SNDBUF    = unix.SO_SNDBUF
	SO_TYPE      = unix.SO_TYPE

	SO_ACCEPTCONN = unix.SO_ACCEPTCONN

	TCP_NODELAY = unix.TCP_NODELAY

	IP_TTL            = unix.IP_TTL
	IP_MULTICAST_TTL  = unix.IP_MULTICAST_TTL
	IP_MULTICAST_LOOP = unix.IP_MULTICAST_LOOP

	IPV6_V6ONLY         = unix.IPV6_V6ONLY
	IPV6_UNICAST_HOPS   = unix.IPV6_UNICAST_HOPS
	IPV6_MULTICAST_HOPS = unix.IPV6_MULTICAST_HOPS
	IPV6_MULTICAST_LOOP = unix.IPV6_MULTICAST_LOOP
	IPV6_MULTICAST_IF   = unix.IPV6_MULTICAST_IF
)

// BuffersAreInherited: accepted TCP sockets inherit the sizes of the listener's buffers.
const BuffersAreInherited = true

// osSetLinger sets SO_LINGER: off, or on with a time in seconds.
func osSetLinger(fd FD, on bool, seconds int) syscall.Errno {
	l := unix.Linger{Linger: int32(seconds)}
	if on {
		l.Onoff = 1
	}
	return errno(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
}

// osSetMembership joins or leaves a multicast group on the interface with the index; with 0
// the system chooses.
func osSetMembership(fd FD, group netip.Addr, ifindex int, join bool) syscall.Errno {
	if group.Is4() {
		option := unix.IP_DROP_MEMBERSHIP
		if join {
			option = unix.IP_ADD_MEMBERSHIP
		}
		return setMembership4(fd, option, group.As4(), ifindex)
	}
	option := unix.IPV6_LEAVE_GROUP
	if join {
		option = unix.IPV6_JOIN_GROUP
	}
	m := unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifindex)}
	return errno(unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option, &m))
}
