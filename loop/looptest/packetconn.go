package looptest

import (
	"net"
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
