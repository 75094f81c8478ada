//go:build netbsd || openbsd || dragonfly || solaris

package sys

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// On these systems an address identifies the interface of an IPv4 group (ip(4)).

func setMembership4(fd FD, option int, group [4]byte, ifindex int) syscall.Errno {
	a, e := addressOf(ifindex)
	if e != 0 {
		return e
	}
	m := unix.IPMreq{Multiaddr: group, Interface: a}
	return errno(unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, option, &m))
}

// osSetMulticastInterface4 sets the interface for outgoing IPv4 multicast packets.
func osSetMulticastInterface4(fd FD, ifindex int) syscall.Errno {
	a, e := addressOf(ifindex)
	if e != 0 {
		return e
	}
	return errno(unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, a))
}

// addressOf returns an IPv4 address of the interface, or 0.0.0.0 for index 0.
func addressOf(ifindex int) (a [4]byte, e syscall.Errno) {
	if ifindex == 0 {
		return a, 0
	}
	ifi, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return a, unix.ENXIO
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return a, unix.ENXIO
	}
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil {
			return [4]byte(n.IP.To4()), 0
		}
	}
	return a, unix.EADDRNOTAVAIL
}
