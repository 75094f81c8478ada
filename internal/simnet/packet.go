package simnet

import "net/netip"

// packetKind is what a packet is.
type packetKind uint8

const (
	synPacket         packetKind = iota // asks a listener for a connection
	synAckPacket                        // the answer: the connection exists
	dataPacket                          // a segment of a stream
	ackPacket                           // acknowledges bytes, and announces the receiver's window
	finPacket                           // the end of a stream
	urgentPacket                        // a byte of urgent data
	resetPacket                         // the connection does not exist, or no longer
	probePacket                         // a keep-alive or window probe, which an acknowledgement answers
	datagramPacket                      // a datagram
	unreachablePacket                   // the answer to a datagram: no socket has its address
)

var packetKinds = [...]string{"SYN", "SYN-ACK", "data", "ACK", "FIN", "urgent", "RST", "probe", "datagram", "unreachable"}

func (k packetKind) String() string { return packetKinds[k] }

// An address is that of a socket: IP address and port, or the name of a Unix socket.
type address struct {
	ip   netip.AddrPort
	name string
}

// A packet is what travels between two hosts, or within one. Whatever a socket does that another one
// notices is a packet, and passes sendLocked. It is in use from newPacketLocked until freeLocked.
type packet struct {
	kind     packetKind
	unix     bool    // between Unix sockets of one host
	from, to *Host   // to is nil if no host has the address
	src, dst address // of the sockets
	// sock is the socket that has sent the packet, peer the one that receives it; peer is nil for a SYN
	// and for a datagram, whose receiver is the socket that has the address when it arrives.
	sock, peer *Socket
	// seq is the number of the first byte, or of the FIN: the bytes of a direction are numbered from 0.
	// In an ACK it is the number of the next byte that the receiver expects.
	seq int64
	// bytes is the length of a segment. Its bytes stay in the sender's buffer until they are
	// acknowledged: see payload.
	bytes int
	limit int64  // of an ACK: the number of the first byte beyond the receiver's window
	data  []byte // of a datagram or an urgent byte; the packet owns it
	tries int    // how often the packet has been lost
	// arrive and resend are for a packet that arrives, or is sent again, later.
	arrive, resend event
	next           *packet // in the list of free packets
}

// payload returns the bytes of a segment or a datagram, valid until the packet has arrived.
func (p *packet) payload() []byte {
	if p.kind == dataPacket {
		return p.sock.stream().out.slice(p.seq, p.bytes)
	}
	return p.data
}

// newPacketLocked returns a packet, for sendLocked.
func (n *Network) newPacketLocked() *packet {
	p := n.freePackets
	if p == nil {
		p = &packet{}
		p.arrive = event{index: noIndex, do: func() { n.arriveNowLocked(p) }}
		p.resend = event{index: noIndex, do: func() { n.sendLocked(p) }}
		return p
	}
	n.freePackets = p.next
	n.freeCount--
	p.next = nil
	return p
}

// Bounds of what free packets keep.
const (
	maxFreePackets = 4096
	keptDatagram   = 2 << 10 // bytes of capacity for data
)

// freeLocked ends the use of a packet that has arrived or is dropped.
func (n *Network) freeLocked(p *packet) {
	n.cancelLocked(&p.arrive)
	n.cancelLocked(&p.resend)
	if n.freeCount == maxFreePackets {
		*p = packet{}
		return
	}
	if cap(p.data) > keptDatagram {
		p.data = nil
	}
	n.freeCount++
	*p = packet{data: p.data[:0], arrive: p.arrive, resend: p.resend, next: n.freePackets}
	n.freePackets = p
}

// arriveNowLocked has a packet arrive before the outermost call of arriveNowLocked returns, after those
// that have been passed to it before. So packets that cross no distance keep their order, and the
// answers to one are not delivered in the middle of what it causes.
func (n *Network) arriveNowLocked(p *packet) {
	n.arriving = append(n.arriving, p)
	if n.delivering {
		return
	}
	n.delivering = true
	for i := 0; i < len(n.arriving); i++ {
		p := n.arriving[i]
		n.arriving[i] = nil
		n.arriveLocked(p)
	}
	n.arriving = n.arriving[:0]
	n.delivering = false
}

// arriveLocked delivers a packet to its host, and frees it unless the receiver keeps it.
func (n *Network) arriveLocked(p *packet) {
	if p.to == nil || p.to.down {
		n.loseLocked(p, fateHostDown)
		return
	}
	if p.kind != ackPacket {
		n.traceLocked(p, fateArrived, 0)
	}
	if !p.to.receiveLocked(p) {
		n.freeLocked(p)
	}
}
