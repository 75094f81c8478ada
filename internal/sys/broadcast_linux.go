package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxBroadcasts is the maximum number of addresses for DropBroadcasts.
const MaxBroadcasts = 64

// DropBroadcasts makes the kernel drop multicast and IPv4 broadcast datagrams before they reach
// the UDP socket fd. Linux delivers a copy of those to each socket that is bound to the
// port; it delivers unicast to one of them (SO_REUSEPORT).
//
// A classic BPF filter (SO_ATTACH_FILTER, socket(7)) decides by the destination address.
// Whether that is the broadcast address of a subnet is known only to the routing table,
// which a filter cannot query: broadcasts lists the known addresses, for links without
// link-layer broadcast, such as loopback. For other links, and addresses added later, the
// filter checks how the frame was sent: hosts should drop a link-layer broadcast frame with
// a unicast address anyway (RFC 1122, 3.3.6). Link-layer multicast frames pass, since
// clusters use them for unicast.
func DropBroadcasts(fd FD, broadcasts [][4]byte) syscall.Errno {
	if len(broadcasts) > MaxBroadcasts {
		broadcasts = broadcasts[:MaxBroadcasts]
	}
	f := toAllFilter(broadcasts)
	return errno(unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}))
}

// AcceptBroadcasts undoes DropBroadcasts.
func AcceptBroadcasts(fd FD) syscall.Errno {
	return errno(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
}

// toAllFilter returns the BPF program. Offset 0 is the UDP header; the IP header begins at
// SKF_NET_OFF, the properties of the frame at SKF_AD_OFF (linux/filter.h).
func toAllFilter(broadcasts [][4]byte) (f []unix.SockFilter) {
	const (
		word      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		byteAt    = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		equal     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		atLeast   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret       = unix.BPF_RET | unix.BPF_K // with the number of bytes to keep
		whole     = 1<<32 - 1
		netOff    = whole + 1 - 0x100000   // SKF_NET_OFF
		frameKind = whole + 1 - 0x1000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE
		dst4      = netOff + 16            // in the IPv4 header (RFC 791)
		dst6      = netOff + 24            // in the IPv6 header (RFC 8200)
	)
	add := func(code uint16, k uint32) { f = append(f, unix.SockFilter{Code: code, K: k}) }
	dropIfEqual := func(k uint32) {
		f = append(f, unix.SockFilter{Code: equal, Jf: 1, K: k}) // if not equal, skip the next instruction
		add(ret, 0)
	}
	add(byteAt, netOff)                                           // version and header length
	f = append(f, unix.SockFilter{Code: atLeast, Jf: 4, K: 0x60}) // if not version 6, skip four instructions
	add(byteAt, dst6)
	dropIfEqual(0xff) // ff00::/8
	add(ret, whole)

	add(byteAt, dst4)
	f = append(f, unix.SockFilter{Code: atLeast, Jf: 2, K: 224})
	f = append(f, unix.SockFilter{Code: atLeast, Jt: 1, K: 240})
	add(ret, 0) // 224.0.0.0/4
	add(word, dst4)
	dropIfEqual(0)     // 0.0.0.0 is a broadcast address, too
	dropIfEqual(whole) // 255.255.255.255
	for _, a := range broadcasts {
		dropIfEqual(uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3]))
	}
	add(word, frameKind)
	dropIfEqual(unix.PACKET_BROADCAST)
	dropIfEqual(unix.PACKET_LOOPBACK) // looped-back copy of a packet that this host has sent
	add(ret, whole)
	return f
}
