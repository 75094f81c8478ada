package simnet

import (
	"net/netip"
	"time"
)

// Kind is the kind of a Segment.
type Kind = packetKind

// The kinds of segments. Streams of Unix sockets have no segments.
const (
	KindSYN         = synPacket         // asks for a connection
	KindSYNACK      = synAckPacket      // accepts it
	KindData        = dataPacket        // bytes of a stream
	KindACK         = ackPacket         // acknowledges the bytes before Offset
	KindFIN         = finPacket         // the end of a stream, at Offset
	KindUrgent      = urgentPacket      // an urgent byte of a stream
	KindRST         = resetPacket       // a reset
	KindProbe       = probePacket       // asks for an ACK: a keep-alive or window probe
	KindDatagram    = datagramPacket    // a datagram of UDP
	KindUnreachable = unreachablePacket // the answer of ICMP to a datagram: no socket has its address
)

// A Segment is what a rule decides about.
type Segment struct {
	Kind             Kind
	FromHost, ToHost *Host
	From, To         netip.AddrPort
	// Offset is that of the first byte of Data in its stream, or the position of a FIN or an ACK.
	Offset int64
	// Data has the bytes of a segment of KindData, KindUrgent or KindDatagram. They are valid, and must
	// not be changed, during the call.
	Data []byte
	// Attempt is 0, or the number of the retransmission of a segment of a TCP connection.
	Attempt int
}

// A Verdict is what a rule does with a segment: Pass, Drop, Reset, Refuse, or what Delay or ResetAfter
// returns.
type Verdict struct {
	action action
	delay  time.Duration
	bytes  int
}

type action uint8

const (
	pass action = iota
	drop
	reset
	refuse
)

var (
	// Pass lets the segment through, to the link. It is the zero Verdict.
	Pass = Verdict{}
	// Drop loses it. TCP retransmits it, which the rule is called for again.
	Drop = Verdict{action: drop}
	// Reset resets the connection instead: both ends get ECONNRESET. A datagram is lost.
	Reset = Verdict{action: reset}
	// Refuse answers a SYN with a RST, as a host does without a listener, and a datagram with ICMP's "port
	// unreachable". It resets established connections.
	Refuse = Verdict{action: refuse}
)

// Delay lets the segment through, and adds d to the latency of the link. What follows in the same
// stream waits for it; datagrams overtake it.
func Delay(d time.Duration) Verdict { return Verdict{delay: d} }

// ResetAfter lets the first n bytes of a segment of KindData through. When they have arrived, the connection
// is reset.
func ResetAfter(n int) Verdict { return Verdict{action: reset, bytes: n} }

// SetRule sets the function that decides about each segment and datagram between hosts, loopback
// included, before the link does; nil removes it. It is called with a lock of the network held: it
// must return soon, and call nothing of this package.
func (n *Network) SetRule(rule func(*Segment) Verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rule = rule
}

// SetLink sets the link from one host to another, one way, for what is sent from now on. It panics
// if a field is out of range.
func (n *Network) SetLink(from, to *Host, l Link) {
	if err := l.Validate(); err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lineBetweenLocked(from, to).link = l
}

// Partition starts or ends a partition from one host to another, one way. While it lasts, datagrams
// are lost, and TCP retransmits: after it, the bytes arrive with the next retransmission. What was
// sent before it arrives.
func (n *Network) Partition(from, to *Host, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lineBetweenLocked(from, to).cut = on
	if on {
		n.tracefLocked("partition from %v to %v", from, to)
	} else {
		n.tracefLocked("end of the partition from %v to %v", from, to)
	}
}

// A ConnectPolicy is what a host does with connections that others ask for.
type ConnectPolicy uint8

const (
	AcceptConnects ConnectPolicy = iota // what its listeners do
	RefuseConnects                      // it refuses all: ECONNREFUSED
	DropConnects                        // it answers none: they time out
)

// SetConnectPolicy sets what the host does with connections that it is asked for from now on.
func (h *Host) SetConnectPolicy(p ConnectPolicy) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.connects = p
}

// judgeLocked returns the verdict of the rule, and of the receiver's connect policy, on a packet.
func (n *Network) judgeLocked(p *packet) Verdict {
	v := Pass
	if n.rule != nil {
		n.judged = Segment{
			Kind: p.kind, FromHost: p.from, ToHost: p.to, From: p.src.ip, To: p.dst.ip,
			Offset: p.seq, Data: p.payload(), Attempt: p.tries,
		}
		v = n.askRuleLocked()
		n.judged = Segment{}
	}
	if p.kind == synPacket && v.action == pass {
		switch p.to.connects {
		case RefuseConnects:
			return Refuse
		case DropConnects:
			return Drop
		}
	}
	return v
}

// askRuleLocked calls the rule. If that panics, or ends the goroutine as testing.T.FailNow does, the packet
// has no verdict and the network cannot go on: it is closed, so that nothing waits for it.
func (n *Network) askRuleLocked() (v Verdict) {
	returned := false
	n.mu.judging.Store(true)
	defer func() {
		n.mu.judging.Store(false)
		if !returned {
			n.tracefLocked("the rule did not return: the network is closed")
			n.closeLocked()
		}
	}()
	v = n.rule(&n.judged)
	returned = true
	return v
}

// interruptLocked does what a verdict of Reset, Refuse or ResetAfter asks for.
func (n *Network) interruptLocked(p *packet, v Verdict) {
	switch {
	case p.kind == datagramPacket && v.action == refuse:
		n.traceLocked(p, fateRefused, 0)
		n.unreachableLocked(p)
		n.freeLocked(p)
	case p.kind == datagramPacket, p.kind == unreachablePacket, p.kind == resetPacket:
		n.loseLocked(p, fateDropped) // no connection to reset
	case p.kind == dataPacket && v.bytes > 0:
		rest := n.headerLocked(p, dataPacket)
		p.bytes = min(p.bytes, v.bytes)
		rest.seq = p.seq + int64(p.bytes)
		n.travelLocked(p, n.lineLocked(p), 0)
		n.resetInsteadLocked(rest, fateReset)
	case v.action == refuse:
		n.resetInsteadLocked(p, fateRefused)
	default:
		n.resetInsteadLocked(p, fateReset)
	}
}

// resetInsteadLocked resets the connection of a packet at both ends, as a host between them would,
// and frees the packet. The sender of a SYN is the only end.
func (n *Network) resetInsteadLocked(p *packet, why fate) {
	n.traceLocked(p, why, 0)
	there, back := n.lineLocked(p), n.answerLocked(p, resetPacket)
	if p.peer != nil {
		n.travelLocked(n.headerLocked(p, resetPacket), there, 0)
	}
	n.freeLocked(p)
	n.travelLocked(back, n.lineLocked(back), there.link.Latency)
}
