package driver

import (
	"errors"
	"net"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/sock"
)

// Packets implements the datagram sockets of a driver that has a Poll: the Poll reports that
// they are ready, and Packets receives. A driver embeds it, passes it the events whose tokens
// have its kind, and calls ReceiveMore in each turn.
type Packets struct {
	q     *queue.Poll
	kind  int // of its tokens
	table Table[PacketSocket]

	pending TurnQueue[PacketSocket]
	inbox   inbox
}

// MakePackets returns a Packets that registers with q, with tokens of the given kind.
func MakePackets(q *queue.Poll, kind int) Packets {
	return Packets{q: q, kind: kind, pending: TurnQueue[PacketSocket]{Mark: pending}}
}

// StartAt is Table.StartAt.
func (d *Packets) StartAt(g uint32) { d.table.StartAt(g) }

func (d *Packets) token(p *PacketSocket) uint64 {
	return Token(d.kind, p.Generation, p.Index)
}

// Flags of a socket.
const (
	bound        = 1 << iota // in the table
	pending                  // in pending
	awaiting                 // Writable must be called once the socket is writable
	unregistered             // the Poll has refused to watch it: each turn tries again
)

// Bind implements Driver. The socket is registered for Writable only between AwaitWritable and
// Writable: Linux reports an event for each datagram that has been sent.
func (d *Packets) Bind(p *PacketSocket) error {
	d.table.Add(p, &p.State)
	if err := d.q.Register(handle.Of(p), d.token(p), selector.Readable, selector.Edge); err != nil {
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
		d.watch(p, selector.Readable|selector.Writable)
	}
}

// watch changes a socket's interest. If the Poll refuses, the registration has ended
// (queue.Poll.Reregister), and the next turn registers the socket again.
func (d *Packets) watch(p *PacketSocket, interest selector.Interest) {
	if d.q.Reregister(handle.Of(p), d.token(p), interest, selector.Edge) == nil {
		return
	}
	p.Flags |= unregistered
	d.addPending(p)
}

// registerAgain tries again to register a socket. The Poll reports what is ready by then.
func (d *Packets) registerAgain(p *PacketSocket) {
	interest := selector.Readable
	if p.Flags&awaiting != 0 {
		interest |= selector.Writable
	}
	if err := d.q.Register(handle.Of(p), d.token(p), interest, selector.Edge); err == nil || errors.Is(err, queue.ErrSourceClosed) {
		p.Flags &^= unregistered
		return
	}
	d.addPending(p)
}

// addPending has the next turn serve the socket.
func (d *Packets) addPending(p *PacketSocket) { d.pending.Put(p, &p.State) }

// Unbind implements Driver.
func (d *Packets) Unbind(p *PacketSocket) {
	if p.Flags&bound != 0 {
		d.table.Remove(&p.State)
	}
	p.Flags &= pending // it may still be in the queue
	p.Close()
	p.Up.Released()
}

// Event handles an event of the socket with this generation and index.
func (d *Packets) Event(generation, index uint32, ev queue.Event) {
	p := d.table.At(index)
	if p == nil || p.Generation != generation {
		return
	}
	if ev.Writable() && p.Flags&awaiting != 0 {
		p.Flags &^= awaiting
		d.watch(p, selector.Readable)
		p.Up.Writable()
	}
	if ev.Readable() && p.Flags&(bound|pending) == bound {
		d.receive(p)
	}
}

// receive receives from the socket, and makes it pending if there may be more.
func (d *Packets) receive(p *PacketSocket) {
	if d.inbox.receive(p) && p.Flags&bound != 0 {
		d.addPending(p)
	}
}

// Pending returns the number of pending sockets: if there are any, the driver must not sleep.
func (d *Packets) Pending() int { return d.pending.Len() }

// ReceiveMore serves the first n pending sockets.
func (d *Packets) ReceiveMore(n int) {
	for range n {
		p := d.pending.Take()
		if p.Flags&(bound|unregistered) == bound|unregistered {
			d.registerAgain(p)
		}
		if p.Flags&bound != 0 {
			d.receive(p)
		}
	}
}

// inbox is the memory that datagrams are received into. All sockets of a loop share it, as
// the loop receives from one at a time. It grows to the largest batch, of at most MaxPackets.
type inbox struct {
	ms     []sock.Message
	memory [][]byte // maxDatagram bytes for each of ms
}

const (
	// maxDatagram is the buffer size for one datagram: none is longer.
	maxDatagram = 64 << 10
	// minBatch is the least number of messages of a batch. Each message costs time to set up,
	// even if no datagram arrives for it, so a batch has about twice as many as the last one
	// returned.
	minBatch = 4
	// batchesPerTurn bounds what one socket may receive in a turn.
	batchesPerTurn = 8
)

// receive delivers received datagrams, up to the socket's budget for a turn. It reports
// whether there may be more.
func (in *inbox) receive(p *PacketSocket) (more bool) {
	for range batchesPerTurn {
		size := min(max(2*p.LastBatch, minBatch), MaxPackets)
		in.grow(size)
		n, err := p.ReadBatch(in.ms[:size])
		switch {
		case err == sock.ErrWouldBlock || errors.Is(err, net.ErrClosed):
			return false
		case err != nil:
			continue // about a datagram that was sent; reading it has cleared it
		}
		p.LastBatch = n
		p.Up.Packets(in.ms[:n:n])
		in.reset(n)
		// A short batch has drained the socket: Linux's recvmmsg(2) does not check for signals
		// between datagrams, and an error in between has an event of its own. Reading again would
		// cost each wake-up one more call, about a tenth of what a small datagram costs. qemu-user
		// does check for signals (docs/platforms.md).
		if n < size {
			return false
		}
	}
	return true
}

// grow makes a batch of n messages possible.
func (in *inbox) grow(n int) {
	for len(in.ms) < n {
		b := make([]byte, maxDatagram)
		in.memory = append(in.memory, b)
		in.ms = append(in.ms, sock.Message{Data: b})
	}
}

// reset sets the first n messages up for the next batch; the handler may have changed them.
func (in *inbox) reset(n int) {
	for i := range in.ms[:n] {
		in.ms[i] = sock.Message{Data: in.memory[i]}
	}
}
