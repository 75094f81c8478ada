package loop

import (
	"net"
	"net/netip"
	"syscall"
)

// The addresses and options of a PacketConn. Datagrams are in packet.go.

// LocalAddr returns the socket's local address, or the zero AddrPort if it is closed.
func (p *PacketConn) LocalAddr() netip.AddrPort { return p.u.LocalAddr() }

// RemoteAddr returns the peer that Connect has set, or the zero AddrPort if there is no peer.
func (p *PacketConn) RemoteAddr() netip.AddrPort { return p.u.RemoteAddr() }

// JoinGroup joins a multicast group on the interface with the index (net.Interface): the socket
// receives what is sent to the group. With index 0 the system chooses the interface. The error is
// ErrBadArgument if group is not a multicast address or the index is negative, and otherwise the
// system's: EADDRINUSE if the socket is already a member, ENODEV if no interface leads to the group.
func (p *PacketConn) JoinGroup(group netip.Addr, ifindex int) error {
	return p.u.JoinGroup(group, ifindex)
}

// LeaveGroup leaves a multicast group that JoinGroup has joined.
func (p *PacketConn) LeaveGroup(group netip.Addr, ifindex int) error {
	return p.u.LeaveGroup(group, ifindex)
}

// SetBroadcast sets whether the socket may send to broadcast addresses (SO_BROADCAST, socket(7)).
// By default it may not, and sending to one is EACCES.
func (p *PacketConn) SetBroadcast(on bool) error { return p.u.SetBroadcast(on) }

// Broadcast reports whether the socket may send to broadcast addresses.
func (p *PacketConn) Broadcast() (bool, error) { return p.u.Broadcast() }

// SetMulticastTTL sets how many hops a multicast packet may take, 0 to 255; the system's default
// is 1.
//
// On Linux this method, SetMulticastLoop and SetMulticastInterface apply to IPv4 and IPv6 groups if
// the socket is on [::]. On the BSDs and macOS they then apply to IPv6 groups only: send to IPv4
// groups from a socket on 0.0.0.0.
func (p *PacketConn) SetMulticastTTL(hops int) error { return p.u.SetMulticastTTL(hops) }

// SetMulticastLoop sets whether sent multicast packets are looped back to this host.
func (p *PacketConn) SetMulticastLoop(on bool) error { return p.u.SetMulticastLoop(on) }

// SetMulticastInterface sets the interface for outgoing multicast packets, by its index
// (net.Interface). With index 0 the system chooses.
func (p *PacketConn) SetMulticastInterface(ifindex int) error {
	return p.u.SetMulticastInterface(ifindex)
}

// SetTTL sets how many hops a packet may take, 1 to 255 (IP_TTL, or IPV6_UNICAST_HOPS; both on a
// dual-stack socket).
func (p *PacketConn) SetTTL(hops int) error { return p.u.SetTTL(hops) }

// TTL returns how many hops a packet may take.
func (p *PacketConn) TTL() (int, error) { return p.u.TTL() }

// SetReadBuffer sets the size of the kernel's receive buffer in bytes, 1 or more; the system has
// limits of its own.
func (p *PacketConn) SetReadBuffer(bytes int) error { return p.u.SetReadBuffer(bytes) }

// ReadBuffer returns the size of the kernel's receive buffer in bytes. Linux reports twice what was
// set (socket(7)).
func (p *PacketConn) ReadBuffer() (int, error) { return p.u.ReadBuffer() }

// SetWriteBuffer sets the size of the kernel's send buffer in bytes, 1 or more; the system has
// limits of its own.
func (p *PacketConn) SetWriteBuffer(bytes int) error { return p.u.SetWriteBuffer(bytes) }

// WriteBuffer returns the size of the kernel's send buffer in bytes. Linux reports twice what was
// set (socket(7)).
func (p *PacketConn) WriteBuffer() (int, error) { return p.u.WriteBuffer() }

// SyscallConn gives access to the descriptor, for options that this package does not have, as
// Conn.SyscallConn does.
func (p *PacketConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := p.u.SyscallConn()
	if err != nil {
		return nil, err
	}
	if p.shut.Load() || !p.LocalAddr().IsValid() {
		return nil, p.opError("control", ErrClosed)
	}
	return controlOnly{raw: raw, fail: p.opError, ends: p.shut.Load}, nil
}

func (p *PacketConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: p.ln.addr, Err: err}
}
