package simnet

import (
	"math"
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// streamState is what a stream socket is.
type streamState uint8

const (
	streamIdle       streamState = iota // neither connected nor listening
	streamListening                     //
	streamConnecting                    // has sent a SYN
	streamEmbryo                        // has got a SYN, and is not in the listener's queue yet
	streamOpen                          // connected; each direction may have ended
	streamOver                          // the connection does not exist any more
)

// A streamSocket is the protocol of TCP and Unix stream sockets: connect.go has how a connection begins,
// this file how bytes pass, ending.go how it ends. Between Unix sockets it is the same, with a window
// that is always open, and bytes that are acknowledged when they are read: so the sender's buffer
// bounds what both hold, as in Linux.
type streamSocket struct {
	s      *Socket
	unix   bool
	state  streamState
	boot   int     // Host.boot when the socket was made
	peer   *Socket // nil: not known yet
	remote address

	out queue
	// sent is the number of the next byte to send, limit that of the first byte beyond the receiver's
	// window.
	sent, limit int64
	in          queue
	announced   int64     // the limit that the peer knows
	early       []*packet // data and FIN that have arrived before bytes that precede them

	used        bool // has been connected, or tried to: it cannot be again
	unconfirmed bool // connect(2) has not reported yet that connecting has ended
	closedWrite bool // by shutdown(2); on a Unix socket also because the peer has closed
	sentFIN     bool
	ackedFIN    bool
	gotFIN      bool
	closedRead  bool // by shutdown(2)
	aborted     bool // the peer may believe that the connection exists: its packets get a reset

	urgent    byte
	hasUrgent bool

	listener *streamSocket // of an embryo, and of a connection that is not accepted yet
	backlog  int           // of a listener
	embryos  []*Socket
	accepts  []*Socket

	timers streamTimers
}

var _ protocol = (*streamSocket)(nil)

func newStream(s *Socket) *streamSocket {
	t := &streamSocket{s: s, unix: s.family == sys.AF_UNIX, boot: s.host.boot}
	if t.unix {
		t.limit = math.MaxInt64
	}
	t.initTimers()
	return t
}

// stream returns the socket's protocol, which must be a stream.
func (s *Socket) stream() *streamSocket { return s.protocol.(*streamSocket) }

// isOver reports whether the connection does not exist, or no longer.
func (t *streamSocket) isOver() bool {
	return t.state == streamOver || t.state == streamIdle || t.isForgotten()
}

// isForgotten reports whether the host has crashed since.
func (t *streamSocket) isForgotten() bool { return t.boot != t.s.host.boot }

func (t *streamSocket) net() *Network { return t.s.host.n }

// newPacketLocked returns a packet to the peer.
func (t *streamSocket) newPacketLocked(k packetKind) *packet {
	p := t.net().newPacketLocked()
	p.kind, p.unix, p.sock, p.peer, p.from = k, t.unix, t.s, t.peer, t.s.host
	p.src, p.dst = t.s.local, t.remote
	if t.peer != nil {
		p.to = t.peer.host
	}
	return p
}

func (t *streamSocket) sendPacketLocked(k packetKind) { t.net().sendLocked(t.newPacketLocked(k)) }

// sendCapacity is how many bytes the send buffer holds. Linux counts its own overhead as well, which
// is why it doubles the sizes that are set (socket(7)).
func (t *streamSocket) sendCapacity() int {
	if t.unix {
		return t.s.options.sendBuffer
	}
	return t.s.options.sendBuffer / 2
}

func (t *streamSocket) receiveCapacity() int { return t.s.options.receiveBuffer / 2 }

// hasSpace reports whether the socket is writable: a part of the send buffer is free, not just a byte,
// as in Linux (sk_stream_is_writeable, unix_writable).
func (t *streamSocket) hasSpace() bool {
	used, capacity := t.out.len(), t.sendCapacity()
	if t.unix {
		return 4*used <= capacity
	}
	return capacity-used >= max(used/2, 1)
}

// sendLocked is sendmsg(2).
func (t *streamSocket) sendLocked(bufs [][]byte, flags int) (int, syscall.Errno) {
	if e := t.sendErrorLocked(); e != 0 {
		return 0, e
	}
	if flags&sys.MSG_OOB != 0 {
		return t.sendUrgentLocked(bufs)
	}
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	free := t.sendCapacity() - t.out.len()
	if free <= 0 && total > 0 {
		return 0, syscall.EAGAIN
	}
	total = min(total, free)
	rest := total
	for _, b := range bufs {
		b = b[:min(len(b), rest)]
		t.out.append(b)
		rest -= len(b)
	}
	t.transmitLocked()
	return total, 0
}

// sendErrorLocked returns why nothing can be sent, or 0.
func (t *streamSocket) sendErrorLocked() syscall.Errno {
	switch {
	case t.unix && (t.state == streamIdle || t.state == streamListening):
		return syscall.ENOTCONN
	case t.unix && t.closedWrite:
		return syscall.EPIPE
	case t.s.err != 0:
		return t.s.takeErrorLocked()
	case t.state == streamConnecting && !t.closedWrite:
		return syscall.EAGAIN
	case t.closedWrite, t.state != streamOpen:
		return syscall.EPIPE
	}
	return 0
}

// transmitLocked sends what the window allows.
func (t *streamSocket) transmitLocked() {
	for t.state == streamOpen { // until what is sent causes a reset
		n := min(t.out.end(), t.limit) - t.sent
		if n <= 0 {
			break
		}
		p := t.newPacketLocked(dataPacket)
		p.seq, p.bytes = t.sent, t.net().segmentLocked(t.s.host, t.peer.host, int(n))
		t.sent += int64(p.bytes)
		t.net().sendLocked(p)
	}
	if t.closedWrite && !t.sentFIN && t.sent == t.out.end() && t.state == streamOpen {
		t.sentFIN = true
		p := t.newPacketLocked(finPacket)
		p.seq = t.sent
		t.net().sendLocked(p)
	}
	t.armLocked()
}

// receiveLocked implements protocol.
func (t *streamSocket) receiveLocked(p *packet) (kept bool) {
	if t.isOver() {
		t.refuseLocked(p)
		return false
	}
	t.heardLocked()
	switch p.kind {
	case synAckPacket:
		t.connectedLocked(p)
	case ackPacket:
		t.acceptedLocked()
		t.acknowledgedLocked(p)
	case dataPacket, finPacket:
		t.acceptedLocked()
		return t.arrivedLocked(p)
	case urgentPacket:
		t.urgent, t.hasUrgent = p.data[0], true
		t.s.changedLocked()
	case probePacket:
		t.acknowledgeLocked()
	case resetPacket:
		t.resetByPeerLocked()
	}
	return false
}

// arrivedLocked takes bytes, or a FIN, once those that precede them have arrived. Segments are sent
// again as they were, so they never overlap.
func (t *streamSocket) arrivedLocked(p *packet) (kept bool) {
	switch end := t.in.end(); {
	case p.seq > end:
		t.early = append(t.early, p)
		return true
	case p.seq < end || t.gotFIN && !t.unix:
		t.acknowledgeLocked() // a duplicate
		return false
	case t.closedRead && t.closedWrite && !t.unix && p.kind == dataPacket:
		t.abortLocked() // no one will read it (RFC 1122, 4.2.2.13)
		t.failLocked(syscall.ECONNRESET)
		return false
	}
	t.takeLocked(p)
	for {
		i := slices.IndexFunc(t.early, func(p *packet) bool { return p.seq == t.in.end() })
		if i < 0 {
			break
		}
		t.takeLocked(t.early[i])
		t.net().freeLocked(t.early[i])
		t.early = slices.Delete(t.early, i, i+1)
	}
	if !t.unix || p.kind == finPacket {
		t.acknowledgeLocked()
	}
	t.s.changedLocked()
	t.endIfDoneLocked()
	return false
}

func (t *streamSocket) takeLocked(p *packet) {
	if p.kind == dataPacket {
		t.in.append(p.payload())
		return
	}
	t.gotFIN = true
	if t.unix && t.peer.closed {
		t.closedWrite = true
	}
}

// acknowledgeLocked reports to the peer what has arrived, and how much more may.
func (t *streamSocket) acknowledgeLocked() {
	p := t.newPacketLocked(ackPacket)
	p.seq = t.in.end()
	if t.unix {
		p.seq = t.in.begin // what is read
	}
	if t.gotFIN && p.seq == t.in.end() {
		p.seq++
	}
	t.announced = t.windowLimit() // less than before if SO_RCVBUF was: the peer ignores that
	p.limit = t.announced
	t.net().sendLocked(p)
}

// windowLimit returns the number of the first byte that the receive buffer could not hold.
func (t *streamSocket) windowLimit() int64 {
	if t.unix {
		return math.MaxInt64
	}
	return t.in.begin + int64(t.receiveCapacity())
}

// acknowledgedLocked takes an acknowledgement.
func (t *streamSocket) acknowledgedLocked(p *packet) {
	hadSpace := t.hasSpace()
	if n := min(p.seq, t.out.end()) - t.out.begin; n > 0 {
		t.out.discard(int(n))
		t.progressLocked()
	}
	if t.sentFIN && p.seq > t.out.end() {
		t.ackedFIN = true
	}
	if p.limit > t.limit {
		t.limit = p.limit
		t.progressLocked()
	}
	t.transmitLocked()
	if !hadSpace && t.hasSpace() {
		t.s.changedLocked()
	}
	t.endIfDoneLocked()
}

// recvLocked is recvmsg(2).
func (t *streamSocket) recvLocked(bufs [][]byte, flags int) (int, syscall.Errno) {
	switch {
	case flags&sys.MSG_OOB != 0:
		return t.recvUrgentLocked(bufs)
	case t.state == streamListening && !t.unix:
		return 0, syscall.ENOTCONN
	case t.unix && (t.state == streamIdle || t.state == streamListening):
		return 0, syscall.EINVAL
	}
	if n := t.in.read(bufs); n > 0 {
		if flags&sys.MSG_PEEK == 0 {
			t.in.discard(n)
			t.readLocked()
		}
		return n, 0
	}
	switch {
	case t.in.len() > 0 || isEmpty(bufs) && !t.unix:
		return 0, 0
	case t.gotFIN && !t.unix:
		return 0, 0 // also if the connection has failed since
	case t.s.err != 0:
		return 0, t.s.takeErrorLocked()
	case t.gotFIN, t.closedRead, t.state == streamOver:
		return 0, 0
	case t.state == streamIdle:
		return 0, syscall.ENOTCONN
	}
	return 0, syscall.EAGAIN
}

func isEmpty(bufs [][]byte) bool {
	for _, b := range bufs {
		if len(b) > 0 {
			return false
		}
	}
	return true
}

// readLocked lets the peer send more, after bytes were read: it is not worth a packet for each byte.
func (t *streamSocket) readLocked() {
	if t.state != streamOpen {
		return
	}
	if t.unix || t.windowLimit()-t.announced >= int64(min(t.receiveCapacity()/2, 16<<10)) {
		t.acknowledgeLocked()
	}
}

func (t *streamSocket) sendUrgentLocked(bufs [][]byte) (int, syscall.Errno) {
	if t.unix {
		return 0, syscall.EOPNOTSUPP
	}
	var last []byte
	for _, b := range bufs {
		if len(b) > 0 {
			last = b[len(b)-1:]
		}
	}
	if len(last) == 0 {
		return 0, 0
	}
	p := t.newPacketLocked(urgentPacket)
	p.data = append(p.data, last...)
	t.net().sendLocked(p)
	return 1, 0
}

func (t *streamSocket) recvUrgentLocked(bufs [][]byte) (int, syscall.Errno) {
	switch {
	case !t.hasUrgent:
		return 0, syscall.EINVAL
	case isEmpty(bufs):
		return 0, 0
	}
	t.hasUrgent = false
	for _, b := range bufs {
		if len(b) > 0 {
			b[0] = t.urgent
			break
		}
	}
	return 1, 0
}

func (t *streamSocket) unreadLocked() int { return t.in.len() }

// unackedLocked also counts what was not acknowledged when the connection failed, as Linux does.
func (t *streamSocket) unackedLocked() int {
	if t.unix && t.state == streamOver {
		return 0 // the peer has dropped it
	}
	n := t.out.len()
	if t.sentFIN && !t.ackedFIN && !t.unix {
		n++
	}
	return n
}

func (t *streamSocket) stateLocked() State {
	var st State
	failed := t.s.err != 0 || t.isOver() || t.closedWrite && (t.gotFIN || t.closedRead)
	ended := t.gotFIN || t.closedRead || t.state == streamOver
	switch {
	case t.state == streamListening:
		if len(t.accepts) > 0 {
			return Readable
		}
		return 0
	case t.state == streamConnecting && t.s.err == 0:
		return 0
	}
	if t.in.len() > 0 || ended {
		st |= Readable
	}
	if t.closedWrite || failed || t.hasSpace() {
		st |= Writable
	}
	if ended {
		st |= ReadClosed
	}
	if failed {
		st |= Failed
	}
	if t.hasUrgent {
		st |= Urgent
	}
	return st
}

func (t *streamSocket) recvFromLocked(b []byte) (int, bool, address, syscall.Errno) {
	n, e := t.recvLocked([][]byte{b}, 0)
	return n, false, address{}, e
}

func (t *streamSocket) sendToLocked(b []byte, _ address) (int, syscall.Errno) {
	if t.state == streamOpen && t.unix {
		return 0, syscall.EISCONN
	}
	return t.sendLocked([][]byte{b}, 0)
}

func (t *streamSocket) membershipLocked(netip.Addr, int, bool) syscall.Errno { return syscall.EINVAL }

func (t *streamSocket) peerLocked() (address, syscall.Errno) {
	if t.state != streamOpen && !(t.unix && t.peer != nil) {
		return address{}, syscall.ENOTCONN
	}
	return t.remote, 0
}
