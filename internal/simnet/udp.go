package simnet

import (
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// Limits of datagrams, as Linux has them (udp(7), ip(7)).
const (
	maxDatagram4  = 65_507 // bytes
	maxDatagram6  = 65_527
	maxGroups4    = 20  // groups of a socket: igmp_max_memberships
	datagramExtra = 768 // what a datagram takes of SO_RCVBUF besides its bytes
)

// A datagramSocket is a UDP socket.
type datagramSocket struct {
	s    *Socket
	peer netip.AddrPort // invalid: not connected
	// explicit is what bind was called with: an address and a port that are zero here were chosen by
	// the system, and end with the connection.
	explicit netip.AddrPort
	// queue has the datagrams that are received and unread, from head on.
	queue               []*packet
	head                int
	used                int // of SO_RCVBUF, by queue
	groups              []netip.Addr
	shutRead, shutWrite bool
}

var _ protocol = (*datagramSocket)(nil)

func newDatagramSocket(s *Socket) *datagramSocket { return &datagramSocket{s: s} }

func (d *datagramSocket) bindLocked(a address) syscall.Errno {
	if e := d.s.host.bindLocked(d.s, a.ip); e != 0 {
		return e
	}
	d.explicit = a.ip
	return 0
}

// autobindLocked binds a socket to a port that the system chooses, if it is not bound.
func (d *datagramSocket) autobindLocked() syscall.Errno {
	local := d.s.local.ip
	if local.Port() != 0 {
		return 0
	}
	if !local.IsValid() {
		local = netip.AddrPortFrom(d.s.unspecified(), 0)
	}
	if d.s.host.bindLocked(d.s, local) != 0 {
		return syscall.EAGAIN // as Linux without a free port
	}
	return 0
}

// unspecified returns the unspecified address of the socket's family.
func (s *Socket) unspecified() netip.Addr {
	if s.family == sys.AF_INET6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func (d *datagramSocket) listenLocked(int) syscall.Errno { return syscall.EOPNOTSUPP }

func (d *datagramSocket) acceptLocked() (*Socket, syscall.Errno) { return nil, syscall.EOPNOTSUPP }

// connectLocked sets the peer, or removes it if the address is zero.
func (d *datagramSocket) connectLocked(to address) syscall.Errno {
	if !to.ip.IsValid() {
		d.disconnectLocked()
		return 0
	}
	if e := d.autobindLocked(); e != 0 {
		return e
	}
	peer := netip.AddrPortFrom(throughLoopback(to.ip.Addr()), to.ip.Port())
	src, e := d.sourceLocked(peer.Addr())
	switch {
	case e != 0:
		return e
	case isBroadcast(peer.Addr()) && !d.s.options.broadcast:
		return syscall.EACCES
	}
	d.peer = peer
	d.s.local.ip = netip.AddrPortFrom(src, d.s.local.ip.Port())
	return 0
}

// disconnectLocked removes the peer, and what of the local address the system has chosen: a socket
// that was bound to port 0 loses its port, as on Linux.
func (d *datagramSocket) disconnectLocked() {
	d.peer = netip.AddrPort{}
	if !d.s.local.ip.IsValid() {
		return
	}
	if d.explicit.Port() == 0 {
		d.s.host.freePortLocked(d.s)
	}
	d.s.local.ip = d.explicit
}

// throughLoopback returns the address that a destination stands for: the unspecified ones are this
// host.
func throughLoopback(ip netip.Addr) netip.Addr {
	switch {
	case !ip.IsUnspecified():
		return ip
	case ip.Is4():
		return loopback4
	}
	return loopback6
}

// sourceLocked returns the address that datagrams to ip are from.
func (d *datagramSocket) sourceLocked(ip netip.Addr) (netip.Addr, syscall.Errno) {
	if local := d.s.local.ip.Addr(); local.IsValid() && !local.IsUnspecified() && !local.IsMulticast() && !isBroadcast(local) {
		if local.Is4() != ip.Is4() {
			return netip.Addr{}, syscall.ENETUNREACH
		}
		return local, 0
	}
	if toMany(ip) {
		return d.s.host.sourceToManyLocked(ip), 0
	}
	_, src, e := d.s.host.routeLocked(ip)
	return src, e
}

func (d *datagramSocket) sendLocked(bufs [][]byte, flags int) (int, syscall.Errno) {
	switch {
	case flags&sys.MSG_OOB != 0:
		return 0, syscall.EOPNOTSUPP
	case !d.peer.IsValid():
		return 0, syscall.EDESTADDRREQ
	}
	return d.transmitLocked(bufs, d.peer)
}

func (d *datagramSocket) sendToLocked(b []byte, to address) (int, syscall.Errno) {
	if !to.ip.IsValid() {
		return d.sendLocked([][]byte{b}, 0)
	}
	return d.transmitLocked([][]byte{b}, netip.AddrPortFrom(throughLoopback(to.ip.Addr()), to.ip.Port()))
}

// transmitLocked sends one datagram.
func (d *datagramSocket) transmitLocked(bufs [][]byte, to netip.AddrPort) (int, syscall.Errno) {
	size, most := 0, maxDatagram4
	for _, b := range bufs {
		size += len(b)
	}
	if !to.Addr().Is4() {
		most = maxDatagram6
	}
	s := d.s
	switch {
	case size > most:
		return 0, syscall.EMSGSIZE
	case to.Port() == 0:
		return 0, syscall.EINVAL
	case isBroadcast(to.Addr()) && !s.options.broadcast:
		return 0, syscall.EACCES
	}
	if e := d.autobindLocked(); e != 0 {
		return 0, e
	}
	src, e := d.sourceLocked(to.Addr())
	if e != 0 {
		return 0, e
	}
	if e := s.takeErrorLocked(); e != 0 {
		return 0, e
	}
	if d.shutWrite {
		return 0, syscall.EPIPE
	}
	from := netip.AddrPortFrom(src, s.local.ip.Port())
	if toMany(to.Addr()) {
		d.toManyLocked(bufs, from, to)
		return size, 0
	}
	host, _, _ := s.host.routeLocked(to.Addr())
	d.datagramLocked(bufs, from, to, host)
	return size, 0
}

// datagramLocked sends a datagram to one host; nil: no host has the address.
func (d *datagramSocket) datagramLocked(bufs [][]byte, from, to netip.AddrPort, host *Host) {
	n := d.s.host.n
	p := n.newPacketLocked()
	p.kind, p.sock, p.from, p.to, p.src.ip, p.dst.ip = datagramPacket, d.s, d.s.host, host, from, to
	for _, b := range bufs {
		p.data = append(p.data, b...)
	}
	n.sendLocked(p)
}

func (d *datagramSocket) recvLocked(bufs [][]byte, flags int) (int, syscall.Errno) {
	if flags&sys.MSG_OOB != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	p, e := d.nextLocked()
	if p == nil {
		return 0, e
	}
	total := 0
	for _, b := range bufs {
		total += copy(b, p.data[total:])
	}
	if flags&sys.MSG_PEEK == 0 {
		d.removeLocked()
	}
	return total, 0
}

func (d *datagramSocket) recvFromLocked(b []byte) (n int, truncated bool, from address, e syscall.Errno) {
	p, e := d.nextLocked()
	if p == nil {
		return 0, false, from, e
	}
	n, truncated, from = copy(b, p.data), len(p.data) > len(b), p.src
	d.removeLocked()
	return n, truncated, from, 0
}

// nextLocked returns the next datagram, or nil and an error.
func (d *datagramSocket) nextLocked() (*packet, syscall.Errno) {
	if e := d.s.takeErrorLocked(); e != 0 {
		return nil, e
	}
	if d.head < len(d.queue) {
		return d.queue[d.head], 0
	}
	return nil, syscall.EAGAIN // also if the socket is shut down
}

// removeLocked removes the next datagram.
func (d *datagramSocket) removeLocked() {
	p := d.queue[d.head]
	d.queue[d.head] = nil
	d.head++
	d.used -= len(p.data) + datagramExtra
	switch {
	case d.head == len(d.queue):
		d.queue, d.head = d.queue[:0], 0
	case d.head > len(d.queue)/2:
		d.queue, d.head = append(d.queue[:0], d.queue[d.head:]...), 0
	}
	d.s.host.n.freeLocked(p)
}

func (d *datagramSocket) peerLocked() (address, syscall.Errno) {
	if !d.peer.IsValid() {
		return address{}, syscall.ENOTCONN
	}
	return address{ip: d.peer}, 0
}

// shutdownLocked also takes effect on a socket without a peer, as on Linux.
func (d *datagramSocket) shutdownLocked(how int) syscall.Errno {
	d.shutRead = d.shutRead || how != sys.SHUT_WR
	d.shutWrite = d.shutWrite || how != sys.SHUT_RD
	d.s.changedLocked()
	if !d.peer.IsValid() {
		return syscall.ENOTCONN
	}
	return 0
}

func (d *datagramSocket) unreadLocked() int {
	if d.head == len(d.queue) {
		return 0
	}
	return len(d.queue[d.head].data)
}

func (d *datagramSocket) unackedLocked() int { return 0 }

func (d *datagramSocket) stateLocked() State {
	state := Writable
	if d.shutRead {
		state |= Readable | ReadClosed
	}
	if d.head < len(d.queue) || d.s.err != 0 {
		state |= Readable
	}
	return state
}

func (d *datagramSocket) optionLocked(int, int) {}

func (d *datagramSocket) closeLocked() {
	for d.head < len(d.queue) {
		d.removeLocked()
	}
	d.groups = nil
}

// receiveLocked takes the refusal of a datagram that the socket has sent to its peer.
func (d *datagramSocket) receiveLocked(p *packet) (kept bool) {
	if p.kind == unreachablePacket && !d.s.closed && d.peer == p.src.ip {
		d.s.err = syscall.ECONNREFUSED
		d.s.changedLocked()
	}
	return false
}

// receiveDatagramLocked delivers a datagram to the socket that has its destination, or to all that
// do if it is for many. It reports whether a socket keeps it.
func (h *Host) receiveDatagramLocked(p *packet) (kept bool) {
	if toMany(p.dst.ip.Addr()) {
		h.receiveForManyLocked(p)
		return false
	}
	d := h.receiverLocked(p)
	if d == nil {
		h.n.traceLocked(p, fateNoSocket, 0)
		h.n.unreachableLocked(p)
		return false
	}
	return d.queueLocked(p)
}

// receiverLocked returns the best socket for a datagram: a connected one before others, then one
// bound to the address before one bound to all, then the one bound last.
func (h *Host) receiverLocked(p *packet) (best *datagramSocket) {
	score := -1
	for _, s := range h.ports[port{udp, p.dst.ip.Port()}] {
		d := s.protocol.(*datagramSocket)
		if !d.takesLocked(p) {
			continue
		}
		now := 0
		if d.peer.IsValid() {
			now += 2
		}
		if !s.local.ip.Addr().IsUnspecified() {
			now++
		}
		if now >= score {
			best, score = d, now
		}
	}
	return best
}

// takesLocked reports whether the socket has the destination of a datagram, and has no other peer
// than its sender.
func (d *datagramSocket) takesLocked(p *packet) bool {
	return d.s.isBoundTo(p.dst.ip.Addr()) && (!d.peer.IsValid() || d.peer == p.src.ip)
}

// queueLocked adds a received datagram to those that are unread, unless the buffer is full.
func (d *datagramSocket) queueLocked(p *packet) (kept bool) {
	if d.used > d.s.options.receiveBuffer {
		d.s.host.n.traceLocked(p, fateFull, 0)
		return false
	}
	d.used += len(p.data) + datagramExtra
	d.queue = append(d.queue, p)
	d.s.changedLocked()
	return true
}

// unreachableLocked answers a datagram that no socket has received, if its sender takes notice: it
// has connected its socket. The answer is a packet of ICMP.
func (n *Network) unreachableLocked(p *packet) {
	d, ok := p.sock.protocol.(*datagramSocket)
	if !ok || p.sock.closed || d.peer != p.dst.ip {
		return
	}
	back := n.newPacketLocked()
	back.kind, back.from, back.to, back.src, back.dst, back.peer = unreachablePacket, p.to, p.from, p.dst, p.src, p.sock
	n.sendLocked(back)
}
