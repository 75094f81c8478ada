package uring

import (
	"fmt"
	"os"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// packets is the driver's datagram sockets. A multishot receive per socket receives into
// buffers of a group of their own, which is created for the first socket; outgoing_linux.go
// sends.
type packets struct {
	out     outgoing
	buffers *sys.URingBuffers
	receive sys.URingReceive
	given   bool // buffers were given back since the last Publish
	toPeer  bool // outgoing.unsubmitted, for the loop's goroutine

	sockets []packetSocket // by State.Index
	free    []uint32
	starved []uint32 // sockets that found no buffer

	// Consecutive datagrams of one socket, to be delivered together.
	of  uint32
	n   int
	ms  [driver.MaxPackets]sock.Message
	ids [driver.MaxPackets]uint16
}

const (
	packetGroup = 1
	// packetBuffers is how many datagrams can be received between two turns; further ones stay
	// in their sockets. The kernel touches only as many pages of a buffer as its datagrams
	// have needed.
	packetBuffers = 256
	// packetBytes holds the longest datagram. It is a multiple of the processor's cache lines,
	// but not of its pages: else the beginnings of all buffers would share a few cache lines.
	packetBytes = 64<<10 + 64
)

// bound is the flag of a socket that has a packetSocket.
const bound = 1

// packetSocket is the driver's state of a socket.
type packetSocket struct {
	p      *driver.PacketSocket
	fd     sys.FD // in use (Handle.Use) until finishPacket, so that Close does not close it
	family int
	ops    int // operations without their last completion

	armed, polling, starved, gone bool

	sendQueue // guarded by outgoing.mu
}

// Bind implements driver.Driver.
func (d *Driver) Bind(p *driver.PacketSocket) error {
	t := &d.packets
	if t.buffers == nil {
		b, e := d.ring.RegisterBuffers(packetGroup, packetBuffers, packetBytes)
		if e != 0 {
			return fmt.Errorf("uring: registering buffers for datagrams: %w", os.NewSyscallError("io_uring_register", e))
		}
		t.buffers = b
	}
	h := handle.Of(p)
	fd, err := d.own("binding", h)
	if err != nil {
		return err
	}
	a, e := sys.LocalAddr(fd)
	if e != 0 {
		d.watches.disown(h)
		h.Done()
		return fmt.Errorf("uring: binding a %v: %w", h.Kind(), os.NewSyscallError("getsockname", e))
	}
	t.out.mu.Lock()
	if n := len(t.free); n > 0 {
		p.Index = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		p.Index = uint32(len(t.sockets))
		t.sockets = append(t.sockets, packetSocket{})
	}
	t.sockets[p.Index] = packetSocket{p: p, fd: fd, family: a.Family()}
	t.out.mu.Unlock()
	p.Flags |= bound
	d.receivePackets(p.Index)
	return nil
}

func (d *Driver) receivePackets(index uint32) {
	s := &d.packets.sockets[index]
	s.armed = true
	s.ops++
	d.begin(opPacket, index).SetRecvDatagrams(s.fd, &d.packets.receive, packetGroup)
}

// AwaitWritable implements driver.Driver.
func (d *Driver) AwaitWritable(p *driver.PacketSocket) {
	if p.Flags&bound != 0 {
		d.requestWritable(p)
	}
}

// pollWritable starts a poll for writability.
func (d *Driver) pollWritable(index uint32) {
	if s := &d.packets.sockets[index]; !s.polling {
		s.polling = true
		s.ops++
		d.begin(opPacketPoll, index).SetPoll(s.fd, sys.POLLOUT, 0)
	}
}

// Unbind implements driver.Driver.
func (d *Driver) Unbind(p *driver.PacketSocket) {
	p.Close() // takes effect after the last operation
	if p.Flags&bound == 0 {
		p.Up.Released()
		return
	}
	p.Flags &^= bound
	s := &d.packets.sockets[p.Index]
	d.endQueue(p.Index)
	if s.armed {
		d.cancel(opPacket, p.Index)
	}
	if s.polling {
		d.cancel(opPacketPoll, p.Index)
	}
	d.finishPacket(p.Index)
}

// finishPacket frees a socket's descriptor and index if it is gone and no operation of it is in
// flight.
func (d *Driver) finishPacket(index uint32) {
	t := &d.packets
	if s := &t.sockets[index]; s.gone && s.ops == 0 {
		p := s.p
		handle.Of(p).Done()
		t.out.mu.Lock()
		t.sockets[index] = packetSocket{}
		t.free = append(t.free, index)
		t.out.mu.Unlock()
		p.Up.Released()
	}
}

// packetReceived handles a completion of a receive. Its datagram is delivered together with
// those that follow directly on the same socket.
func (d *Driver) packetReceived(index uint32, res int32, flags uint32) {
	t := &d.packets
	s := &t.sockets[index]
	last := flags&sys.IORING_CQE_F_MORE == 0
	if last {
		s.armed = false
		s.ops--
	}
	if flags&sys.IORING_CQE_F_BUFFER != 0 {
		id := uint16(flags >> sys.IORING_CQE_BUFFER_SHIFT)
		if s.gone || res < 0 {
			d.givePacket(id)
		} else {
			data, from, truncated := t.buffers.Datagram(id, int(res))
			t.ms[t.n] = sock.Message{Data: data, N: len(data), Addr: from, Truncated: truncated}
			t.ids[t.n], t.of = id, index
			t.n++
		}
	}
	switch {
	case !last:
	case s.gone:
		d.finishPacket(index)
	case syscall.Errno(-res) == syscall.ENOBUFS:
		s.starved = true
		t.starved = append(t.starved, index)
	default: // it ends from time to time, or with an error about a datagram that was sent
		d.receivePackets(index)
	}
	if t.n == len(t.ms) {
		d.deliverPackets()
	}
}

func (d *Driver) givePacket(id uint16) {
	d.packets.buffers.Give(id)
	d.packets.given = true
}

// deliverPackets delivers what packetReceived has gathered. Nothing is gathered meanwhile.
func (d *Driver) deliverPackets() {
	t := &d.packets
	n := t.n
	t.n = 0
	t.sockets[t.of].p.Up.Packets(t.ms[:n:n])
	for _, id := range t.ids[:n] {
		d.givePacket(id)
	}
}

// endPacketTurn is called at the end of a turn: it gives buffers back to the kernel, starts the
// receives of sockets that found no buffer, and reports sends.
func (d *Driver) endPacketTurn() {
	t := &d.packets
	if t.given {
		t.buffers.Publish()
		t.given = false
	}
	if len(t.starved) > 0 {
		for _, index := range t.starved {
			if s := &t.sockets[index]; s.starved && !s.gone {
				s.starved = false
				d.receivePackets(index)
			}
		}
		t.starved = t.starved[:0]
	}
	d.reportSends()
}

// packetWritable handles a completion of the poll that pollWritable starts.
func (d *Driver) packetWritable(index uint32) {
	s := &d.packets.sockets[index]
	s.polling = false
	s.ops--
	if s.gone {
		d.finishPacket(index)
		return
	}
	if d.unblockQueue(index) {
		s.p.Up.Writable()
	}
}

// isUnwanted is Driver.isUnwanted for operations of datagram sockets.
func (t *packets) isUnwanted(op uint64, index uint32) bool {
	switch op {
	case opPacket:
		return t.sockets[index].gone && t.sockets[index].armed
	case opPacketPoll:
		return t.sockets[index].gone && t.sockets[index].polling
	}
	return false
}

// isAbandoned reports whether abandonPackets has given the operation's socket up.
func (t *packets) isAbandoned(op uint64, index uint32) bool {
	switch op {
	case opPacketSend:
		index = t.out.all[index].socket
	case opPacket, opPacketPoll:
	default:
		return false
	}
	return t.sockets[index].p == nil
}

// abandonPackets gives up the operations of sockets that are gone: the ring no longer
// completes them.
func (d *Driver) abandonPackets() {
	t := &d.packets
	for i := range t.sockets {
		if s := &t.sockets[i]; s.gone {
			s.ops = 0
			d.finishPacket(uint32(i))
		}
	}
}
