package simnet

import (
	"net/netip"
	"syscall"
)

// A datagramSocket is the protocol of UDP sockets.
type datagramSocket struct {
	s *Socket
}

var _ protocol = (*datagramSocket)(nil)

func newDatagramSocket(s *Socket) *datagramSocket { return &datagramSocket{s: s} }

func (h *Host) receiveDatagramLocked(p *packet) {}

func (d *datagramSocket) bindLocked(a address) syscall.Errno     { return d.s.host.bindLocked(d.s, a.ip) }
func (d *datagramSocket) listenLocked(int) syscall.Errno         { return syscall.EOPNOTSUPP }
func (d *datagramSocket) acceptLocked() (*Socket, syscall.Errno) { return nil, syscall.EOPNOTSUPP }
func (d *datagramSocket) connectLocked(address) syscall.Errno    { return syscall.EOPNOTSUPP }
func (d *datagramSocket) shutdownLocked(int) syscall.Errno       { return syscall.ENOTCONN }
func (d *datagramSocket) recvLocked([][]byte, int) (int, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}
func (d *datagramSocket) sendLocked([][]byte, int) (int, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}
func (d *datagramSocket) recvFromLocked([]byte) (int, bool, address, syscall.Errno) {
	return 0, false, address{}, syscall.EOPNOTSUPP
}
func (d *datagramSocket) sendToLocked([]byte, address) (int, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}
func (d *datagramSocket) peerLocked() (address, syscall.Errno) { return address{}, syscall.ENOTCONN }
func (d *datagramSocket) membershipLocked(netip.Addr, int, bool) syscall.Errno {
	return syscall.EOPNOTSUPP
}
func (d *datagramSocket) unreadLocked() int          { return 0 }
func (d *datagramSocket) unackedLocked() int         { return 0 }
func (d *datagramSocket) stateLocked() State         { return 0 }
func (d *datagramSocket) optionLocked(int, int)      {}
func (d *datagramSocket) closeLocked()               {}
func (d *datagramSocket) receiveLocked(*packet) bool { return false }
