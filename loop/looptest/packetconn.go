package looptest

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// A PacketConn is a UDP socket that a test uses as it does a *net.UDPConn. Its methods may be called
// from any goroutine.
type PacketConn struct{ p *simnet.PacketConn }

var (
	_ net.PacketConn = (*PacketConn)(nil)
	_ syscall.Conn   = (*PacketConn)(nil)
)

// ReadFrom waits for a datagram, and copies it to b. What does not fit is lost. The address is a
// *net.UDPAddr.
func (p *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) { return p.p.ReadFrom(b) }

// WriteTo sends a datagram, which may be lost on its way. The address is a *net.UDPAddr.
func (p *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) { return p.p.WriteTo(b, to) }

// ReadFromUDPAddrPort is ReadFrom without an allocation.
func (p *PacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	return p.p.ReadFromUDPAddrPort(b)
}

// WriteToUDPAddrPort is WriteTo without an allocation.
func (p *PacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return p.p.WriteToUDPAddrPort(b, to)
}

// SetBroadcast permits datagrams to a broadcast address: 255.255.255.255 reaches every other host.
func (p *PacketConn) SetBroadcast(on bool) error { return p.p.SetBroadcast(on) }

// JoinGroup receives datagrams to a multicast group from every host, until LeaveGroup.
func (p *PacketConn) JoinGroup(group netip.Addr) error { return p.p.JoinGroup(group) }

// LeaveGroup ends JoinGroup.
func (p *PacketConn) LeaveGroup(group netip.Addr) error { return p.p.LeaveGroup(group) }

// Close closes the socket.
func (p *PacketConn) Close() error { return p.p.Close() }

// LocalAddr returns the address of the socket.
func (p *PacketConn) LocalAddr() net.Addr { return p.p.LocalAddr() }

// SetDeadline sets the deadlines of ReadFrom and WriteTo, on the network's clock; the zero Time means
// none.
func (p *PacketConn) SetDeadline(t time.Time) error { return p.p.SetDeadline(t) }

// SetReadDeadline sets the deadline of ReadFrom.
func (p *PacketConn) SetReadDeadline(t time.Time) error { return p.p.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of WriteTo.
func (p *PacketConn) SetWriteDeadline(t time.Time) error { return p.p.SetWriteDeadline(t) }

// SyscallConn gives access to the descriptor, which only package sock can use.
func (p *PacketConn) SyscallConn() (syscall.RawConn, error) { return p.p.SyscallConn() }
