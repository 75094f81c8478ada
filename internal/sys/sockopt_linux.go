package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Options under the names that they have on Linux. HasUserTimeout and the like
// are for systems that lack one.
const (
	TCP_KEEPIDLE     = unix.TCP_KEEPIDLE
	TCP_KEEPINTVL    = unix.TCP_KEEPINTVL
	TCP_KEEPCNT      = unix.TCP_KEEPCNT
	TCP_USER_TIMEOUT = unix.TCP_USER_TIMEOUT

	HasUserTimeout = true
	HasReusePort   = true
)

func setMembership4(fd FD, option int, group [4]byte, ifindex int) syscall.Errno {
	m := unix.IPMreqn{Multiaddr: group, Ifindex: int32(ifindex)}
	return errno(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, option, &m))
}

// SetMulticastInterface4 says which interface IPv4 multicast leaves by.
func SetMulticastInterface4(fd FD, ifindex int) syscall.Errno {
	m := unix.IPMreqn{Ifindex: int32(ifindex)}
	return errno(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &m))
}
