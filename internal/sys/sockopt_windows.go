package sys

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Options under their Linux names. Options that Windows lacks are 0, and their Has…
// constant is false.
const (
	SOL_SOCKET   = windows.SOL_SOCKET
	IPPROTO_IP   = windows.IPPROTO_IP
	IPPROTO_IPV6 = windows.IPPROTO_IPV6
	IPPROTO_TCP  = windows.IPPROTO_TCP

	SO_REUSEADDR = windows.SO_REUSEADDR
	SO_REUSEPORT = 0
	SO_KEEPALIVE = windows.SO_KEEPALIVE
	SO_BROADCAST = windows.SO_BROADCAST
	SO_RCVBUF    = windows.SO_RCVBUF
	SO_SNDBUF    = windows.SO_SNDBUF
	SO_TYPE      = 0x1008

	SO_ACCEPTCONN = 0x0002
	soError       = 0x1007

	TCP_NODELAY      = windows.TCP_NODELAY
	TCP_KEEPIDLE     = windows.TCP_KEEPIDLE
	TCP_KEEPINTVL    = windows.TCP_KEEPINTVL
	TCP_KEEPCNT      = windows.TCP_KEEPCNT
	TCP_USER_TIMEOUT = 0

	IP_TTL            = windows.IP_TTL
	IP_MULTICAST_TTL  = windows.IP_MULTICAST_TTL
	IP_MULTICAST_LOOP = windows.IP_MULTICAST_LOOP

	IPV6_V6ONLY         = windows.IPV6_V6ONLY
	IPV6_UNICAST_HOPS   = windows.IPV6_UNICAST_HOPS
	IPV6_MULTICAST_HOPS = windows.IPV6_MULTICAST_HOPS
	IPV6_MULTICAST_LOOP = windows.IPV6_MULTICAST_LOOP
	IPV6_MULTICAST_IF   = windows.IPV6_MULTICAST_IF

	HasUserTimeout = false
	HasReusePort   = false
	// HasMappedOptions: undocumented on Windows, so such options are set and errors ignored.
	HasMappedOptions = false
	// NoDelayIsInherited: accepted sockets inherit the listener's TCP_NODELAY.
	NoDelayIsInherited = false
)

// BuffersAreInherited: accepted TCP sockets inherit the sizes of the listener's buffers. Winsock does not
// document that they do.
const BuffersAreInherited = false

// ReuseAddrIsSafe: on Windows SO_REUSEADDR lets other processes take the port, and a port
// in TIME_WAIT can be bound without it.
const ReuseAddrIsSafe = false

// osSetInt sets an integer option.
func osSetInt(fd FD, level, option, value int) syscall.Errno {
	v := int32(value)
	return setOption(fd, level, option, unsafe.Pointer(&v), unsafe.Sizeof(v))
}

func setOption(fd FD, level, option int, p unsafe.Pointer, size uintptr) syscall.Errno {
	r, _, e := syscall.SyscallN(procSetsockopt.Addr(), uintptr(fd), uintptr(level), uintptr(option), uintptr(p), size)
	return failed(r, e)
}

// osGetInt returns an integer option. Some options of Windows are one byte long; the
// rest of the value stays zero.
func osGetInt(fd FD, level, option int) (int, syscall.Errno) {
	var v int32
	size := int32(unsafe.Sizeof(v))
	r, _, e := syscall.SyscallN(procGetsockopt.Addr(), uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)))
	return int(v), failed(r, e)
}

// osSocketError returns and clears the socket's pending error (SO_ERROR).
func osSocketError(fd FD) syscall.Errno {
	v, e := osGetInt(fd, SOL_SOCKET, soError)
	if e != 0 || v == 0 {
		return e
	}
	return errnoOf(syscall.Errno(v))
}

// osSetLinger sets SO_LINGER: off, or on with a time in seconds.
func osSetLinger(fd FD, on bool, seconds int) syscall.Errno {
	l := struct{ onoff, seconds uint16 }{seconds: uint16(min(seconds, 1<<16-1))}
	if on {
		l.onoff = 1
	}
	return setOption(fd, SOL_SOCKET, windows.SO_LINGER, unsafe.Pointer(&l), unsafe.Sizeof(l))
}

// osSetMembership joins or leaves a multicast group on the interface with the index; with 0
// the system chooses.
func osSetMembership(fd FD, group netip.Addr, ifindex int, join bool) syscall.Errno {
	if group.Is4() {
		option := windows.IP_DROP_MEMBERSHIP
		if join {
			option = windows.IP_ADD_MEMBERSHIP
		}
		m := struct{ group, iface [4]byte }{group.As4(), interface4(ifindex)}
		return setOption(fd, IPPROTO_IP, option, unsafe.Pointer(&m), unsafe.Sizeof(m))
	}
	option := windows.IPV6_LEAVE_GROUP
	if join {
		option = windows.IPV6_JOIN_GROUP
	}
	m := struct {
		group [16]byte
		iface uint32
	}{group.As16(), uint32(ifindex)}
	return setOption(fd, IPPROTO_IPV6, option, unsafe.Pointer(&m), unsafe.Sizeof(m))
}

// osSetMulticastInterface4 sets the interface for outgoing IPv4 multicast packets.
func osSetMulticastInterface4(fd FD, ifindex int) syscall.Errno {
	iface := interface4(ifindex)
	return setOption(fd, IPPROTO_IP, windows.IP_MULTICAST_IF, unsafe.Pointer(&iface), unsafe.Sizeof(iface))
}

// interface4 encodes an interface index for IPv4 options that expect an address of the
// interface: in 0.0.0.0/8, in network byte order (ip_mreq, imr_interface).
func interface4(ifindex int) (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], uint32(ifindex)&0xffffff)
	return b
}

// DisconnectDone reports whether e, the result of connecting a datagram socket to the
// Unspecified address, means that the socket is disconnected: Winsock may refuse the zero
// address after it has removed the peer.
func DisconnectDone(a *Sockaddr, e syscall.Errno) bool {
	return a.Family() == AF_UNSPEC && e == syscall.EADDRNOTAVAIL
}
