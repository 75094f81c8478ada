package simnet

import "time"

// How a packet gets from its sender to its receiver: sendLocked asks, in this order, for partitions,
// the rule, faults, and the link. What is lost of a TCP connection is sent again (lostLocked): so a
// link delays bytes, and never takes any.

// A flow is what a socket has on its way to its peer.
type flow struct {
	line    *line // of a TCP connection; nil: not known yet
	orderAt int64 // when the last packet arrives: jitter does not reorder
}

// sendLocked sends a packet, which then belongs to the network. All that travels passes this function,
// for the first time or again.
func (n *Network) sendLocked(p *packet) {
	switch {
	case n.closed, p.tries > 0 && p.isObsolete():
		n.freeLocked(p) // the connection has ended meanwhile, and its bytes with it
		return
	case p.unix:
		n.arriveNowLocked(p)
		return
	}
	l := n.lineLocked(p)
	switch {
	case p.to == nil:
		n.loseLocked(p, fateNoHost)
		return
	case l.cut:
		n.loseLocked(p, fateCut)
		return
	}
	v := n.judgeLocked(p)
	switch {
	case v.action == drop:
		n.loseLocked(p, fateDropped)
	case v.action == reset || v.action == refuse:
		n.interruptLocked(p, v)
	case p.kind == dataPacket && chance(n.rand, p.from.faults.Resets):
		n.resetInsteadLocked(p, fateFault)
	case chance(n.rand, l.link.Loss):
		n.loseLocked(p, fateLost)
	default:
		if p.kind == datagramPacket && chance(n.rand, l.link.Duplicate) {
			n.traceLocked(p, fateDuplicated, 0)
			n.travelLocked(n.cloneLocked(p), l, v.delay)
		}
		n.travelLocked(p, l, v.delay)
	}
}

func (n *Network) loseLocked(p *packet, why fate) {
	n.traceLocked(p, why, 0)
	n.lostLocked(p)
}

// cloneLocked returns a copy of a datagram.
func (n *Network) cloneLocked(p *packet) *packet {
	c := n.headerLocked(p, p.kind)
	c.data = append(c.data, p.data...)
	return c
}

// headerLocked returns a packet of the given kind between the sockets of p.
func (n *Network) headerLocked(p *packet, k packetKind) *packet {
	c := n.newPacketLocked()
	c.kind, c.from, c.to, c.src, c.dst, c.sock, c.peer = k, p.from, p.to, p.src, p.dst, p.sock, p.peer
	return c
}

// answerLocked returns a packet of the given kind from the receiver of p to its sender.
func (n *Network) answerLocked(p *packet, k packetKind) *packet {
	c := n.newPacketLocked()
	c.kind, c.from, c.to, c.src, c.dst, c.sock, c.peer = k, p.to, p.from, p.dst, p.src, p.peer, p.sock
	return c
}

// travelLocked puts a packet on the line, for the latency of the link and a delay.
func (n *Network) travelLocked(p *packet, l *line, delay time.Duration) {
	datagram := p.kind == datagramPacket
	reordered := datagram && chance(n.rand, l.link.Reorder)
	order := p.order(l)
	if delay <= 0 && !reordered && l.immediate() && !n.isToComeLocked(order) {
		n.arriveNowLocked(p)
		return
	}
	at := l.transit(n.rand, n.nowLocked(), p.wireBytes())
	if !datagram {
		at = later(at, delay) // what follows in the stream waits, too
	}
	if order != nil {
		at = max(at, *order)
		*order = at
	}
	if datagram {
		at = later(at, delay)
	}
	if reordered {
		at = later(at, l.lag(n.rand))
	}
	if p.kind != ackPacket {
		n.traceLocked(p, fateSent, at)
	}
	n.scheduleLocked(&p.arrive, at)
}

// order returns where the time is at which the packets arrive that p must not overtake. It is nil if
// there are none: ACKs overtake others.
func (p *packet) order(l *line) *int64 {
	switch {
	case p.kind == datagramPacket:
		return &l.orderAt
	case p.sock == nil || p.kind == ackPacket:
		return nil
	}
	return &p.sock.flow.orderAt
}

// isToComeLocked reports whether packets may arrive at or after the current time, because the last of
// them does at *order.
func (n *Network) isToComeLocked(order *int64) bool {
	if order == nil || *order == 0 {
		return false
	}
	if *order >= n.nowLocked() {
		return true
	}
	*order = 0
	return false
}

// length returns the number of bytes that the packet carries.
func (p *packet) length() int {
	if p.kind == dataPacket {
		return p.bytes
	}
	return len(p.data)
}

// wireBytes returns the number of bytes that the packet has on a line.
func (p *packet) wireBytes() int {
	if p.kind == datagramPacket {
		return p.length() + udpHeaderBytes
	}
	return p.length() + tcpHeaderBytes
}

// lineLocked returns the line that a packet travels on.
func (n *Network) lineLocked(p *packet) *line {
	if p.sock == nil || p.kind == datagramPacket {
		return n.lineBetweenLocked(p.from, p.to)
	}
	f := &p.sock.flow // its packets have one destination
	if f.line == nil {
		f.line = n.lineBetweenLocked(p.from, p.to)
	}
	return f.line
}

// lineBetweenLocked returns the line from one host to another. A host's line to itself is the
// loopback interface.
func (n *Network) lineBetweenLocked(from, to *Host) *line {
	ends := [2]*Host{from, to}
	l := n.lines[ends]
	if l == nil {
		l = &line{}
		if from != to {
			l.link = n.config.Link
		}
		n.lines[ends] = l
	}
	return l
}

// segmentLocked returns how many of the bytes that a stream has to send, at least 1, its next segment
// has.
func (n *Network) segmentLocked(from, to *Host, bytes int) int {
	return n.lineBetweenLocked(from, to).segmentBytes(n.rand, bytes)
}
