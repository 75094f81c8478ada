package driver

import (
	"errors"
	"net"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// Packets is the sockets of datagrams of a driver that has a Poll: it tells when they are
// ready, and Packets receives. A driver embeds it, hands it the events whose tokens are
// of its kind, and calls ReceiveMore in each turn.
type Packets struct {
	reg   pollux.Registrator
	kind  int // of its tokens
	table Table[PacketSocket]

	pending []*PacketSocket // those with more to be received
	inbox   inbox
}

// MakePackets returns the sockets of a driver whose tokens are of a kind.
func MakePackets(reg pollux.Registrator, kind int) Packets { return Packets{reg: reg, kind: kind} }

// StartAt is Table.StartAt.
func (d *Packets) StartAt(g uint32) { d.table.StartAt(g) }

func (d *Packets) token(p *PacketSocket) pollux.Token {
	return Token(d.kind, p.Generation, p.Index)
}

// Flags of a socket.
const (
	bound    = 1 << iota // in the table
	pending              // in pending
	awaiting             // Writable is owed
	deaf                 // the Poll has refused to watch it: that is tried again in each turn
)

// Bind implements Driver. The socket is watched for Writable only while somebody waits
// for that: Linux tells it for each datagram that has gone out.
func (d *Packets) Bind(p *PacketSocket) error {
	d.table.Add(p, &p.State)
	if err := d.reg.Register(p.UDPSocket, d.token(p), pollux.Readable, pollux.Edge); err != nil {
		d.table.Remove(&p.State)
		return err
	}
	p.Flags |= bound
	return nil
}

// AwaitWritable implements Driver.
func (d *Packets) AwaitWritable(p *PacketSocket) {
	if p.Flags&(bound|awaiting) == bound {
		p.Flags |= awaiting
		d.watch(p, pollux.Readable|pollux.Writable)
	}
}

// watch changes what a socket is watched for. A refusal has ended the registration
// (pollux.Registrator.Reregister), so the socket is registered anew in the next turn.
func (d *Packets) watch(p *PacketSocket, interest pollux.Interest) {
	if d.reg.Reregister(p.UDPSocket, d.token(p), interest, pollux.Edge) == nil {
		return
	}
	p.Flags |= deaf
	d.later(p)
}

// listen tries once more to have the socket watched. What is ready by then is reported.
func (d *Packets) listen(p *PacketSocket) {
	interest := pollux.Readable
	if p.Flags&awaiting != 0 {
		interest |= pollux.Writable
	}
	if err := d.reg.Register(p.UDPSocket, d.token(p), interest, pollux.Edge); err == nil || errors.Is(err, pollux.ErrSourceClosed) {
		p.Flags &^= deaf
		return
	}
	d.later(p)
}

// later has the socket looked after in the next turn.
func (d *Packets) later(p *PacketSocket) {
	if p.Flags&pending == 0 {
		p.Flags |= pending
		d.pending = append(d.pending, p)
	}
}

// Unbind implements Driver.
func (d *Packets) Unbind(p *PacketSocket) {
	if p.Flags&bound != 0 {
		d.table.Remove(&p.State)
	}
	p.Flags &= pending // it may still be there
	p.Close()
	p.Up.Released()
}

// Event takes an event of the socket whose token was made of generation and index.
func (d *Packets) Event(generation, index uint32, ev pollux.Event) {
	p := d.table.At(index)
	if p == nil || p.Generation != generation {
		return
	}
	if ev.Writable() && p.Flags&awaiting != 0 {
		p.Flags &^= awaiting
		d.watch(p, pollux.Readable)
		p.Up.Writable()
	}
	if ev.Readable() && p.Flags&(bound|pending) == bound {
		d.receive(p)
	}
}

// receive receives from the socket, and has it come again if there may be more.
func (d *Packets) receive(p *PacketSocket) {
	if d.inbox.receive(p) && p.Flags&bound != 0 {
		d.later(p)
	}
}

// Pending returns how many sockets have more: the driver must not sleep then.
func (d *Packets) Pending() int { return len(d.pending) }

// ReceiveMore gives the first n of the sockets that have more their turn.
func (d *Packets) ReceiveMore(n int) {
	if n == 0 {
		return
	}
	for i := range n {
		p := d.pending[i]
		p.Flags &^= pending
		if p.Flags&(bound|deaf) == bound|deaf {
			d.listen(p)
		}
		if p.Flags&bound != 0 {
			d.receive(p)
		}
	}
	rest := copy(d.pending, d.pending[n:])
	clear(d.pending[rest:])
	d.pending = d.pending[:rest]
}

// inbox is the memory that datagrams are received into. All sockets of a loop share it,
// since they are received from one after the other; it is made for the first of them.
type inbox struct {
	ms     []sock.Message
	memory []byte
}

const (
	// maxDatagram is the room for one datagram: none is longer.
	maxDatagram = 64 << 10
	// minRoom is for how many datagrams there is room at the least. To make room costs
	// time, even if nothing comes; so there is about twice as much as came lately.
	minRoom = 4
	// looksPerTurn bounds what one socket may bring in a turn.
	looksPerTurn = 8
)

// receive hands over what has come, up to the socket's share of a turn. It reports
// whether there may be more.
func (in *inbox) receive(p *PacketSocket) (more bool) {
	if in.memory == nil {
		in.memory = make([]byte, MaxPackets*maxDatagram)
		in.ms = make([]sock.Message, MaxPackets)
		in.makeRoom(MaxPackets)
	}
	for range looksPerTurn {
		room := min(max(2*p.Lately, minRoom), MaxPackets)
		n, err := p.ReadBatch(in.ms[:room])
		switch {
		case err == sock.ErrWouldBlock || errors.Is(err, net.ErrClosed):
			return false
		case err != nil:
			continue // about a datagram that was sent; it is off the socket by now
		}
		p.Lately = n
		p.Up.Packets(in.ms[:n:n])
		in.makeRoom(n)
		// A short batch has drained the socket: Linux' recvmmsg(2) looks for no signals between
		// datagrams, and an error in between comes with an event of its own. To ask again would
		// cost each wake-up one more call, about a tenth of what a small datagram costs. qemu-user
		// does look for signals (docs/platforms.md).
		if n < room {
			return false
		}
	}
	return true
}

// makeRoom undoes what the handler may have done to the first n messages.
func (in *inbox) makeRoom(n int) {
	for i := range in.ms[:n] {
		in.ms[i] = sock.Message{Data: in.memory[i*maxDatagram : (i+1)*maxDatagram : (i+1)*maxDatagram]}
	}
}
