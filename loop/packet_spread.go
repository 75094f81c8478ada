package loop

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// spreadUDP is spreadTCP for sockets of datagrams. The first is bound alone, and shares its
// port afterwards: with SO_REUSEPORT a second server would share it unnoticed, even one
// that asked for a free port, for Linux takes those of its user's own sockets for free.
//
// Linux gives a broadcast or multicast datagram to every socket of the port, so that only
// the first may take them: where nothing else can arrive it is the only one, and the others
// have a filter where both can. A socket on one address of the host gets none of them. The
// filter needs the addresses of the interfaces, net.Interfaces: where they cannot be listed
// (Android, some sandboxes), there is one socket.
func spreadUDP(n int, at netip.AddrPort, interfaces func() ([]net.Interface, error)) ([]*sock.UDPSocket, error) {
	first, err := sock.ListenUDP(at)
	if err != nil {
		return nil, err
	}
	all := []*sock.UDPSocket{first}
	at = first.LocalAddr()
	if !usesReusePort(n) || isBroadcastOrMulticast(at) {
		return all, nil
	}
	fails := func(err error) ([]*sock.UDPSocket, error) {
		closeAll(all)
		return nil, &net.OpError{Op: "bind", Net: "udp", Addr: net.UDPAddrFromAddrPort(at), Err: err}
	}
	options := []sock.Option{sock.ReusePort()}
	if at.Addr().Unmap().IsUnspecified() {
		broadcasts, err := unmarkedBroadcasts(interfaces)
		switch {
		case sys.IsWant(err):
			return fails(err)
		case err != nil:
			return all, nil
		}
		options = append(options, sock.Control(func(fd uintptr) error {
			if e := sys.DropToAll(sys.FD(fd), broadcasts); e != 0 {
				return errNoFilter
			}
			return nil
		}))
	}
	if err := sharePort(first, true); err != nil {
		return fails(err)
	}
	for range n - 1 {
		u, err := sock.ListenUDP(at, options...)
		switch {
		case err == nil:
			all = append(all, u)
		case errors.Is(err, errNoFilter) && sharePort(first, false) == nil:
			closeAll(all[1:]) // none of them may take datagrams then
			return all[:1], nil
		default:
			closeAll(all)
			return nil, err
		}
	}
	return all, nil
}

// errNoFilter says that the kernel takes no filter, such as in a sandbox.
var errNoFilter = errors.New("the socket takes no filter")

// handOver has another socket take what was sent to many, if p did so, and only its loop has
// ended: the listener goes on.
func (pl *PacketListener) reassignBroadcasts(p *PacketConn) {
	pl.closing.Lock()
	defer pl.closing.Unlock()
	if pl.closed.Load() || pl.conns[pl.broadcastIndex] != p {
		return
	}
	for i, other := range pl.conns {
		if other.loop.failed.Load() == nil && withFD(other.UDPSocket, sys.TakeToAll) == nil {
			pl.broadcastIndex = i
			return
		}
	}
}

// withFD calls f with the socket's descriptor.
func withFD(u *sock.UDPSocket, f func(sys.FD) syscall.Errno) error {
	h := u.PollHandle()
	fd, ok := h.Use()
	if !ok {
		return ErrClosed
	}
	defer h.Done()
	if e := f(fd); e != 0 {
		return sys.CallError("setsockopt", e)
	}
	return nil
}

// sharePort lets other sockets with SO_REUSEPORT have the port of one that is bound, or no
// longer.
func sharePort(u *sock.UDPSocket, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return withFD(u, func(fd sys.FD) syscall.Errno { return sys.SetInt(fd, sys.SOL_SOCKET, sys.SO_REUSEPORT, value) })
}

// isBroadcastOrMulticast reports whether an address stands for many hosts: a socket bound to it receives
// nothing but multicast, or broadcast.
func isBroadcastOrMulticast(at netip.AddrPort) bool {
	ip := at.Addr().Unmap()
	switch {
	case ip.IsMulticast():
		return true
	case !ip.Is4() || ip.IsUnspecified():
		return false
	}
	// Only the routing table knows the broadcast addresses: connecting to one needs
	// SO_BROADCAST (ip(7)), and sends nothing.
	probe, err := sock.ConnectUDP(netip.AddrPortFrom(ip, at.Port()))
	if err != nil {
		return errors.Is(err, syscall.EACCES)
	}
	probe.Close()
	return false
}

// unmarkedBroadcasts returns the broadcast addresses of interfaces whose link has no
// broadcast, such as loopback and tunnels: nothing in their frames marks one.
func unmarkedBroadcasts(interfaces func() ([]net.Interface, error)) (all [][4]byte, err error) {
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.Flags&net.FlagBroadcast != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if len(all) == sys.MaxBroadcasts {
				return all, nil
			}
			if n, ok := a.(*net.IPNet); ok {
				if b, ok := broadcastOf(n); ok {
					all = append(all, b)
				}
			}
		}
	}
	return all, nil
}

// broadcastOf returns the last address of an IPv4 network that has a broadcast address, which is
// it: networks of one or two hosts have none (RFC 3021).
func broadcastOf(n *net.IPNet) (last [4]byte, ok bool) {
	ip := n.IP.To4()
	ones, bits := n.Mask.Size()
	if ip == nil || bits != 32 || ones > 30 {
		return last, false
	}
	for i := range last {
		last[i] = ip[i] | ^n.Mask[i]
	}
	return last, true
}
