package simnet

import "time"

// How a packet gets from its sender to its receiver: sendLocked decides what happens to it. What
// decides, in this order: a partition, or a host that is down; the rule; faults; the link. What is
// lost of a TCP connection is sent again (lostLocked): so a link delays bytes, and never takes any.

// A flow is what a socket has on its way to its peer.
type flow struct {
	line    *line // of a TCP connection; nil: not known yet
	orderAt int64 // when the last packet arrives: jitter does not reorder
}

// sendLocked sends a packet, which then belongs to the network. All that travels passes this function,
// for the first time or again.
func (n *Network) sendLocked(p *packet) {
	switch {
	case n.closed, p.tries > 0 && p.isStaleLocked():
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
	case p.to.down:
		n.loseLocked(p, fateHostDown)
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
	case p.kind == dataPacket && chance(n.rand, n.config.Faults.Resets):
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

// travelLocked puts a packet on the line.
func (n *Network) travelLocked(p *packet, l *line, delay time.Duration) {
	f := p.flow()
	inOrder := f == nil || f.orderAt == 0 // nothing is on its way, or order does not matter
	if delay <= 0 && inOrder && l.immediate(p) {
		n.arriveNowLocked(p)
		return
	}
	now := n.nowLocked()
	var at int64
	if p.kind == datagramPacket {
		at = l.datagram(n.rand, now, len(p.data))
	} else {
		at = l.transit(n.rand, now, p.length()+tcpHeaderBytes)
	}
	at += int64(max(delay, 0))
	if f != nil {
		at = max(at, f.orderAt)
		f.orderAt = at
	}
	if p.kind != ackPacket {
		n.traceLocked(p, fateSent, at)
	}
	n.scheduleLocked(&p.arrive, at)
}

// flow returns the flow in whose order the packet arrives, or nil. ACKs and datagrams overtake
// others; the line keeps the order of datagrams.
func (p *packet) flow() *flow {
	if p.sock == nil || p.kind == ackPacket || p.kind == datagramPacket || p.kind == unreachablePacket {
		return nil
	}
	return &p.sock.flow
}

// length returns the number of bytes that the packet carries.
func (p *packet) length() int {
	if p.kind == dataPacket {
		return p.bytes
	}
	return len(p.data)
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
