package simnet

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// How a connection ends: by a FIN in each direction; by a reset, which is sent by a socket that is
// closed with unread bytes or with SO_LINGER of 0, and by a host that does not know the connection; or
// because the peer does not answer.

func (t *streamSocket) shutdownLocked(how int) syscall.Errno {
	read, write := how != sys.SHUT_WR, how != sys.SHUT_RD
	switch {
	case t.unix:
		t.shutdownUnixLocked(read, write)
		return 0
	case t.state == streamListening:
		if read {
			t.stopListeningLocked()
		}
		return 0
	case t.state == streamConnecting:
		t.disconnectLocked()
		return 0
	case t.isOver():
		t.closedRead = t.closedRead || read
		t.closedWrite = t.closedWrite || write
		t.s.changedLocked()
		return syscall.ENOTCONN
	}
	t.closedRead = t.closedRead || read
	t.closedWrite = t.closedWrite || write
	t.transmitLocked()
	t.s.changedLocked()
	return 0
}

// shutdownUnixLocked shuts down a Unix socket: its peer notices that nothing is read any more, too.
func (t *streamSocket) shutdownUnixLocked(read, write bool) {
	t.closedRead = t.closedRead || read
	t.closedWrite = t.closedWrite || write
	if read && t.state == streamOpen {
		t.peer.stream().closedWrite = true
		t.peer.stream().transmitLocked()
		t.peer.changedLocked()
	}
	t.transmitLocked()
	t.s.changedLocked()
}

// stopListeningLocked ends listening: connections that are not accepted are reset.
func (t *streamSocket) stopListeningLocked() {
	for _, all := range [][]*Socket{t.embryos, t.accepts} {
		for _, child := range all {
			child.closed = true
			child.stream().abortLocked()
			t.s.host.unbindLocked(child)
		}
	}
	t.embryos, t.accepts = nil, nil
	t.state = streamIdle
	t.s.changedLocked()
}

func (t *streamSocket) closeLocked() {
	switch {
	case t.state == streamListening:
		t.stopListeningLocked()
	case t.isOver():
	case t.state == streamConnecting:
		t.overLocked()
	case t.in.len() > 0, !t.unix && t.s.options.linger && t.s.options.lingerSeconds == 0:
		t.abortLocked()
	case t.unix:
		p := t.newPacketLocked(finPacket) // also if it has sent one: the peer sees that t.s is closed
		p.seq = t.out.end()
		t.overLocked()
		t.net().sendLocked(p)
	default:
		t.closedRead, t.closedWrite = true, true
		t.transmitLocked()
		t.endIfDoneLocked()
	}
}

// abortLocked ends the connection with a reset.
func (t *streamSocket) abortLocked() {
	connected := t.state == streamOpen || t.state == streamEmbryo
	t.dropEmbryoLocked()
	t.overLocked()
	t.aborted = true
	if connected {
		t.sendPacketLocked(resetPacket)
	}
}

// disconnectLocked makes the socket one that is not connected: connect(2) with AF_UNSPEC.
func (t *streamSocket) disconnectLocked() {
	if !t.isOver() {
		t.abortLocked()
		t.s.err = syscall.ECONNRESET
	}
	t.state, t.closedRead, t.closedWrite, t.gotFIN = streamIdle, false, false, false
	t.in.discard(t.in.len())
	t.remote = address{}
	t.s.changedLocked()
}

// overLocked is called when the connection ceases to exist on this host.
func (t *streamSocket) overLocked() {
	t.state = streamOver
	t.net().cancelLocked(&t.timers.event)
	for _, p := range t.early {
		t.net().freeLocked(p)
	}
	t.early = nil
}

// loseLocked ends the connection, or listening, without a packet.
func (t *streamSocket) loseLocked() {
	for _, all := range [][]*Socket{t.embryos, t.accepts} {
		for _, child := range all {
			child.closed = true
			child.loseLocked()
		}
	}
	t.embryos, t.accepts = nil, nil
	t.overLocked()
	t.aborted = true
}

// endIfDoneLocked ends the connection when there is nothing to send or receive any more. (There is no
// TIME_WAIT: addresses are not used twice while packets are on the way.)
func (t *streamSocket) endIfDoneLocked() {
	if t.state == streamOpen && t.gotFIN && t.ackedFIN && !t.unix {
		t.overLocked()
	}
}

// resetByPeerLocked is called with a reset.
func (t *streamSocket) resetByPeerLocked() {
	switch {
	case t.state == streamEmbryo:
		t.dropEmbryoLocked()
	case t.state == streamConnecting:
		t.failLocked(syscall.ECONNREFUSED)
	case t.gotFIN && !t.unix:
		t.failLocked(syscall.EPIPE)
	default:
		t.failLocked(syscall.ECONNRESET)
	}
}

// failLocked ends the connection with a pending error.
func (t *streamSocket) failLocked(e syscall.Errno) {
	t.overLocked()
	t.aborted = true
	t.closedRead, t.closedWrite = true, true
	t.s.err = e
	t.s.changedLocked()
}

// refuseLocked answers a packet for a connection that does not exist any more.
func (t *streamSocket) refuseLocked(p *packet) {
	if p.kind != resetPacket && p.sock != nil && (t.aborted || t.isForgotten() || p.kind == synAckPacket) && !t.unix {
		t.peer = p.sock
		t.sendPacketLocked(resetPacket)
	}
}
