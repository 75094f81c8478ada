package simnet

import (
	"math"
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// A PacketConn is a UDP socket, for goroutines.
type PacketConn struct{ end }

var _ net.PacketConn = (*PacketConn)(nil)

// ListenPacket binds a UDP socket to an address, as net.ListenPacket does: network is "udp", "udp4" or
// "udp6". The host is a literal IP address, or empty.
func (h *Host) ListenPacket(network, address string) (*PacketConn, error) {
	switch network {
	case "udp", "udp4", "udp6":
	default:
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	s, fd, err := h.open("listen", network, address)
	if err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	c := &PacketConn{}
	c.initLocked(s, fd, network)
	return c, nil
}

// ReadFrom implements net.PacketConn. What of a datagram does not fit into b is lost.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom as net.UDPConn has it.
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	err = c.call("read", &c.reads, func() (e syscall.Errno) {
		if c.s.wouldBlockLocked(Readable) {
			return syscall.EAGAIN
		}
		var a address
		n, _, a, e = c.s.protocol.recvFromLocked(b)
		from = a.ip
		return e
	})
	return n, from, err
}

// WriteTo implements net.PacketConn. addr is a *net.UDPAddr.
func (c *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	u, ok := addr.(*net.UDPAddr)
	if !ok || u == nil || u.Port < 0 || u.Port > math.MaxUint16 {
		return 0, &net.OpError{Op: "write", Net: c.network, Addr: addr, Err: syscall.EINVAL}
	}
	return c.WriteToUDPAddrPort(b, u.AddrPort())
}

// WriteToUDPAddrPort is WriteTo as net.UDPConn has it.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error) {
	var sa sys.Sockaddr
	if !to.IsValid() || !sa.SetAddrPort(to, c.s.family) {
		return 0, &net.OpError{Op: "write", Net: c.network, Addr: net.UDPAddrFromAddrPort(to), Err: syscall.EINVAL}
	}
	err = c.call("write", &c.writes, func() (e syscall.Errno) {
		if c.s.wouldBlockLocked(Writable) {
			return syscall.EAGAIN
		}
		a, e := c.s.addressOf(&sa)
		if e == 0 {
			n, e = c.s.protocol.sendToLocked(b, a)
		}
		return e
	})
	if err != nil {
		err.(*net.OpError).Addr = net.UDPAddrFromAddrPort(to)
	}
	return n, err
}

// SetBroadcast sets whether the socket may send to broadcast addresses.
func (c *PacketConn) SetBroadcast(on bool) error {
	return c.setInt(sys.SOL_SOCKET, sys.SO_BROADCAST, toInt(on))
}

// JoinGroup joins a multicast group.
func (c *PacketConn) JoinGroup(group netip.Addr) error { return c.membership(group, true) }

// LeaveGroup leaves a multicast group.
func (c *PacketConn) LeaveGroup(group netip.Addr) error { return c.membership(group, false) }

func (c *PacketConn) membership(group netip.Addr, join bool) error {
	return c.set("membership", func() syscall.Errno { return c.s.SetMembership(group.Unmap(), 0, join) })
}
