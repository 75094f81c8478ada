package simnet

import "time"

// Retransmission, as Linux has it (tcp(7)).
const (
	firstRetry    = 200 * time.Millisecond // of a segment, doubled each time
	firstSYNRetry = time.Second            // of a SYN or SYN-ACK, doubled each time
	maxRetry      = 120 * time.Second
	maxSYNAcks    = 5
	maxTries      = 15 // of others (tcp_retries2); timers end the connection before
)

// lostLocked is called with a packet that was lost. Those of a connection that TCP sends again, or
// whose loss makes the peer send again, are sent again after a time; others are freed.
func (n *Network) lostLocked(p *packet) {
	delay := firstRetry
	switch p.kind {
	case probePacket, datagramPacket, unreachablePacket:
		n.freeLocked(p)
		return
	case resetPacket:
		// A reset is not sent again, but what it has answered is, and gets another reset.
		if p.peer == nil || !p.peer.stream().resends() {
			n.freeLocked(p)
			return
		}
	case synPacket, synAckPacket:
		delay = firstSYNRetry
	}
	t := p.resender().stream()
	p.tries++
	switch {
	case n.closed || p.isObsolete() || p.tries > maxTries:
		n.freeLocked(p)
		return
	case p.kind == synAckPacket && p.tries > maxSYNAcks:
		t.dropEmbryoLocked()
		n.freeLocked(p)
		return
	}
	n.scheduleLocked(&p.resend, n.nowLocked()+int64(min(delay<<min(p.tries-1, 16), maxRetry)))
}

// isObsolete reports whether a packet that was lost is not sent again, because the connection has ended
// since. An ACK is, while the peer retransmits what it acknowledges: by a socket in TIME_WAIT. A host
// that has crashed, or has reset the connection, sends a reset instead.
func (p *packet) isObsolete() bool {
	s := p.resender()
	switch {
	case !s.stream().isOver():
		return false
	case p.kind != ackPacket || p.peer == nil || !p.peer.stream().resends():
		return true
	case s.stream().aborted || s.stream().isForgotten():
		p.kind = resetPacket
	}
	return false
}

// resender returns the socket that retransmits a packet or, for a reset, what the reset answers.
func (p *packet) resender() *Socket {
	if p.kind == resetPacket {
		return p.peer
	}
	return p.sock
}
