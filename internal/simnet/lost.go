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

// isStaleLocked reports whether a packet that was lost need not be sent again, because its sender's
// connection has ended. Where that has ended normally, the last ACK is sent again: TIME_WAIT does it.
func (p *packet) isStaleLocked() bool {
	t := p.sock.stream()
	return t.isOver() && (p.kind != ackPacket || t.aborted || t.isForgotten())
}

// lostLocked is called with a packet that was lost. Those of a connection that TCP sends again, or
// whose loss makes the peer send again, are sent again after a time; others are freed.
func (n *Network) lostLocked(p *packet) {
	delay := firstRetry
	switch p.kind {
	case resetPacket, probePacket, datagramPacket, unreachablePacket:
		n.freeLocked(p)
		return
	case synPacket, synAckPacket:
		delay = firstSYNRetry
	}
	t := p.sock.stream()
	p.tries++
	switch {
	case n.closed || p.isStaleLocked() || p.tries > maxTries:
		n.freeLocked(p)
		return
	case p.kind == synAckPacket && p.tries > maxSYNAcks:
		t.dropEmbryoLocked()
		n.freeLocked(p)
		return
	}
	n.scheduleLocked(&p.resend, n.nowLocked()+int64(min(delay<<min(p.tries-1, 16), maxRetry)))
}
