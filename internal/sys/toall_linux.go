package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxBroadcasts is how many addresses DropToAll takes.
const MaxBroadcasts = 64

// DropToAll has the kernel drop what was sent to many before it reaches the socket, one of
// UDP: multicast, and broadcast of IPv4. Linux gives each socket of a port its own copy of
// those; unicast goes to one of them (SO_REUSEPORT).
//
// A classic filter (SO_ATTACH_FILTER, socket(7)) decides by the destination's address. Only
// the routing table says whether that is the broadcast address of a subnet, and a filter
// cannot ask it: broadcasts lists the addresses that are known, for links without a
// broadcast of their own, such as loopback. For other links, and later addresses, it looks
// at how the frame was sent: one that came as a broadcast of the link, with a unicast
// address, should be dropped by hosts anyway (RFC 1122, 3.3.6). A link's multicast is
// passed, since clusters send unicast by it.
func DropToAll(fd FD, broadcasts [][4]byte) syscall.Errno {
	if len(broadcasts) > MaxBroadcasts {
		broadcasts = broadcasts[:MaxBroadcasts]
	}
	f := toAllFilter(broadcasts)
	return errno(unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}))
}

// TakeToAll undoes DropToAll.
func TakeToAll(fd FD) syscall.Errno {
	return errno(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
}

// toAllFilter returns the program. The socket's own data begins with the header of UDP; that
// of IP is found from SKF_NET_OFF on, the frame's properties from SKF_AD_OFF on
// (linux/filter.h).
func toAllFilter(broadcasts [][4]byte) (f []unix.SockFilter) {
	const (
		word      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		byteAt    = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		equal     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		atLeast   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		give      = unix.BPF_RET | unix.BPF_K
		whole     = 1<<32 - 1
		netOff    = whole + 1 - 0x100000   // SKF_NET_OFF
		frameKind = whole + 1 - 0x1000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE
		dst4      = netOff + 16            // in the header of IPv4 (RFC 791)
		dst6      = netOff + 24            // in the header of IPv6 (RFC 8200)
	)
	add := func(code uint16, k uint32) { f = append(f, unix.SockFilter{Code: code, K: k}) }
	dropIfEqual := func(k uint32) {
		f = append(f, unix.SockFilter{Code: equal, Jf: 1, K: k}) // if not, past the next
		add(give, 0)
	}
	add(byteAt, netOff)                                           // the version, and the length of the header
	f = append(f, unix.SockFilter{Code: atLeast, Jf: 4, K: 0x60}) // if not 6, past the next four
	add(byteAt, dst6)
	dropIfEqual(0xff) // ff00::/8
	add(give, whole)

	add(byteAt, dst4)
	f = append(f, unix.SockFilter{Code: atLeast, Jf: 2, K: 224})
	f = append(f, unix.SockFilter{Code: atLeast, Jt: 1, K: 240})
	add(give, 0) // 224.0.0.0/4
	add(word, dst4)
	dropIfEqual(0)     // 0.0.0.0 is a broadcast address, too
	dropIfEqual(whole) // 255.255.255.255
	for _, a := range broadcasts {
		dropIfEqual(uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3]))
	}
	add(word, frameKind)
	dropIfEqual(unix.PACKET_BROADCAST)
	dropIfEqual(unix.PACKET_LOOPBACK) // a copy of what this host has sent to many
	add(give, whole)
	return f
}
