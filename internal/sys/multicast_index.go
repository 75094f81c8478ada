//go:build linux || darwin || freebsd

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func setMembership4(fd FD, option int, group [4]byte, ifindex int) syscall.Errno {
	m := unix.IPMreqn{Multiaddr: group, Ifindex: int32(ifindex)}
	return errno(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, option, &m))
}

// osSetMulticastInterface4 sets the interface for outgoing IPv4 multicast packets.
func osSetMulticastInterface4(fd FD, ifindex int) syscall.Errno {
	m := unix.IPMreqn{Ifindex: int32(ifindex)}
	return errno(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &m))
}
