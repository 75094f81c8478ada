package spread

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// UDP is TCP for UDP sockets. Linux considers ports of the user's own SO_REUSEPORT sockets free: a
// first socket with that option would share the port even of a server that asked for a free one.
//
// Linux gives a broadcast or multicast datagram to every socket of the port, so only the first
// may receive them: on an address that receives nothing else it is the only socket, and on a
// wildcard address the others have a filter. A socket bound to one address of the host receives
// none. The filter needs the addresses of the interfaces (net.Interfaces): where they cannot be
// listed (Android, some sandboxes), there is one socket.
func UDP(n int, at netip.AddrPort, interfaces func() ([]net.Interface, error), options ...sock.Option) ([]*sock.UDPSocket, error) {
	first, err := sock.ListenUDP(at, options...)
	if err != nil {
		return nil, err
	}
	all := []*sock.UDPSocket{first}
	at = first.LocalAddr()
	if !severalSockets(n) || isBroadcastOrMulticast(at) {
		return all, nil
	}
	fails := func(err error) ([]*sock.UDPSocket, error) {
		CloseAll(all)
		return nil, &net.OpError{Op: "bind", Net: "udp", Addr: net.UDPAddrFromAddrPort(at), Err: err}
	}
	options = append(slices.Clip(options), sock.ReusePort(true))
	if at.Addr().Unmap().IsUnspecified() {
		broadcasts, err := unmarkedBroadcasts(interfaces)
		switch {
		case sys.IsResourceError(err):
			return fails(err)
		case err != nil:
			return all, nil
		}
		options = append(options, sock.Control(func(fd uintptr) error {
			if e := sys.DropBroadcasts(sys.FD(fd), broadcasts); e != 0 {
				return errNoFilter
			}
			return nil
		}))
	}
	port := portOf(first)
	if err := port.share(); err != nil {
		return fails(err)
	}
	for range n - 1 {
		u, err := sock.ListenUDP(at, options...)
		switch {
		case err == nil:
			all = append(all, u)
		case errors.Is(err, errNoFilter) && port.restore() == nil:
			CloseAll(all[1:]) // they must not receive datagrams
			return all[:1], nil
		default:
			CloseAll(all)
			return nil, err
		}
	}
	return all, nil
}

// errNoFilter means that the kernel does not accept a filter, such as in a sandbox.
var errNoFilter = errors.New("the kernel does not accept a socket filter")

// ReceiveBroadcasts lets a socket of UDP receive broadcasts and multicasts, if a filter
// kept it from that.
func ReceiveBroadcasts(u *sock.UDPSocket) error { return configure(u, sys.AcceptBroadcasts) }

// isBroadcastOrMulticast reports whether a socket bound to the address receives only broadcasts
// or multicasts.
func isBroadcastOrMulticast(at netip.AddrPort) bool {
	ip := at.Addr().Unmap()
	switch {
	case ip.IsMulticast():
		return true
	case !ip.Is4() || ip.IsUnspecified():
		return false
	}
	// Only the routing table has the broadcast addresses: connecting to one needs SO_BROADCAST
	// (ip(7)), and sends nothing.
	probe, err := sock.ConnectUDP(netip.AddrPortFrom(ip, at.Port()))
	if err != nil {
		return errors.Is(err, syscall.EACCES)
	}
	probe.Close()
	return false
}

// unmarkedBroadcasts returns the broadcast addresses of interfaces whose link has no broadcast,
// such as loopback and tunnels: their frames do not mark broadcasts.
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

// broadcastOf returns the broadcast address of an IPv4 network, which is its last; networks of
// one or two hosts have none (RFC 3021).
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
