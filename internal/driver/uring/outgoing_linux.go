package uring

import (
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// outgoing holds the datagrams to send. What an upcall sends is copied, and leaves with the
// turn: so a turn costs one call, however many sockets send.
//
// The datagrams of a socket leave in the order of the calls. Each socket has a queue; as long
// as it is not empty, new datagrams go to its end. The ring has at most one datagram of a
// socket, because it may retry several in any order. If a queue has more, sendmmsg(2) sends
// them all; if the kernel's send buffer is full, the whole queue waits.
type outgoing struct {
	// mu guards all fields, and the sockets' queues: other goroutines append to queues.
	mu       sync.Mutex
	all      []*datagram // by the index in the user data of their sends
	free     []uint32
	due      []uint32 // sockets whose queue is to be sent
	polls    []uint32 // sockets that wait to become writable, not polled yet
	refused  []uint32 // sockets that found their queue full: Writable must follow
	failures []sendFailure
	batch    *sys.Batch

	// unsubmitted says that a datagram without an address is in the submission queue: it goes to
	// the peer that its socket has when it is submitted. submitted is signaled after that.
	unsubmitted bool
	submitted   sync.Cond

	reporting []sendFailure // used by reportSends only
}

const (
	// maxOutgoing is how many datagrams may be queued in all, and maxQueued for one socket: if
	// that has to wait, for example for address resolution, the other sockets go on.
	maxOutgoing = 4096
	maxQueued   = 256
	// maxQueuedBytes bounds the bytes of datagrams above copyBytes in a queue; a single one
	// always fits.
	maxQueuedBytes = 1 << 20
	// datagramsPerAlloc is how many datagrams are allocated at a time.
	datagramsPerAlloc = 32
	// copyBytes is the longest datagram that fits in datagram.buf. If nothing is queued, a
	// longer one is sent immediately by a call of its own, which costs little compared with the
	// copying.
	copyBytes = 2 << 10
	// maxPayload is the longest datagram that any socket can send (RFC 768). Package sock
	// returns the error for longer ones.
	maxPayload = 1<<16 - 1 - 8
)

// datagram is a datagram to send. The kernel reads it until the send completes.
type datagram struct {
	index   uint32 // in outgoing.all
	socket  uint32
	toPeer  bool
	next    *datagram // in the queue
	bytes   int
	to      sys.Sockaddr
	message sys.URingDatagram
	large   []byte // the data, if it does not fit in buf
	buf     [copyBytes]byte
}

func (l *datagram) data() []byte {
	if l.large != nil {
		return l.large
	}
	return l.buf[:l.bytes]
}

func (l *datagram) address() *sys.Sockaddr {
	if l.toPeer {
		return nil
	}
	return &l.to
}

// sendQueue is the datagrams that a socket has to send, in order.
//
// A queue that is not empty is due, or has a datagram in the ring, or is blocked: when that
// ends, the rest is sent.
type sendQueue struct {
	first, last *datagram
	length      int // with the one in the ring
	large       int // bytes in datagrams above copyBytes
	inRing      *datagram
	isDue       bool
	blocked     bool // until the socket is writable
	awaited     bool // call Writable when the socket is writable
	refused     bool // call Writable when the queue has space
}

type sendFailure struct {
	p     *driver.PacketSocket
	index uint32
	bytes int
	errno syscall.Errno
}

// allocLocked returns a free datagram, or nil if there are maxOutgoing already.
func (o *outgoing) allocLocked() *datagram {
	if len(o.free) == 0 {
		if len(o.all) == maxOutgoing {
			return nil
		}
		made := make([]datagram, datagramsPerAlloc)
		for i := range made {
			made[i].index = uint32(len(o.all))
			o.free = append(o.free, made[i].index)
			o.all = append(o.all, &made[i])
		}
	}
	last := len(o.free) - 1
	l := o.all[o.free[last]]
	o.free = o.free[:last]
	return l
}

func (o *outgoing) freeLocked(l *datagram) {
	l.large, l.next = nil, nil
	o.free = append(o.free, l.index)
}

func (o *outgoing) hasFreeLocked() bool { return len(o.free) > 0 || len(o.all) < maxOutgoing }

// sendsHaveFailed reports whether reportSends has failures to report that no completion brings.
func (d *Driver) sendsHaveFailed() bool {
	if d.packets.buffers == nil {
		return false
	}
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.failures) > 0
}

// SendPackets implements driver.PacketSender. It does not enter the ring, because it may run
// on another thread than the ring's.
func (d *Driver) SendPackets(p *driver.PacketSocket, ms []sock.Message) (int, error) {
	o := &d.packets.out
	o.mu.Lock()
	s := &d.packets.sockets[p.Index]
	for i := range ms {
		direct := s.length == 0 && len(ms)-i > 1
		if len(ms[i].Data) > copyBytes && s.inRing == nil && !s.blocked {
			d.sendQueueLocked(p.Index) // all of it, unless it would block
			direct = s.length == 0
		}
		if direct {
			o.mu.Unlock()
			n, err := p.WriteBatch(ms[i:])
			if err == sock.ErrWouldBlock {
				d.requestWritable(p)
			}
			return i + n, err
		}
		if err := d.queueLocked(p, s, &ms[i]); err != nil {
			o.mu.Unlock()
			return i, err
		}
	}
	if s.length > 0 && s.inRing == nil && !s.blocked {
		o.setDueLocked(s, p.Index)
	}
	o.mu.Unlock()
	return len(ms), nil
}

// requestWritable has a poll call Writable, which starts with the next turn.
func (d *Driver) requestWritable(p *driver.PacketSocket) {
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	d.packets.sockets[p.Index].awaited = true
	o.polls = append(o.polls, p.Index)
}

// QueuePackets implements driver.PacketSender.
func (d *Driver) QueuePackets(p *driver.PacketSocket, ms []sock.Message) (n int, err error, ok bool) {
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if !p.Queued.Load() {
		return 0, nil, false
	}
	s := &d.packets.sockets[p.Index]
	for i := range ms {
		if err := d.queueLocked(p, s, &ms[i]); err != nil {
			return i, err, true
		}
	}
	return len(ms), nil, true
}

// KeepPeer implements driver.PacketSender. It waits until the ring has submitted what has no
// address. The loop's goroutine does that before it makes an upcall, so the wait is short, and
// that goroutine never waits here.
func (d *Driver) KeepPeer(p *driver.PacketSocket) {
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.unsubmitted {
		o.submitted.Wait()
	}
	if !p.Queued.Load() {
		return
	}
	s := &d.packets.sockets[p.Index]
	peer, e := sys.PeerAddr(s.fd)
	if e != 0 {
		return // there is no peer, and sending to it fails
	}
	if l := s.inRing; l != nil && l.toPeer {
		l.toPeer, l.to = false, peer // in case that it would block, and is sent again
	}
	for l := s.first; l != nil; l = l.next {
		if l.toPeer {
			l.toPeer, l.to = false, peer
		}
	}
}

// queueLocked appends a datagram to the socket's queue.
func (d *Driver) queueLocked(p *driver.PacketSocket, s *packetSocket, m *sock.Message) error {
	o := &d.packets.out
	size, large := len(m.Data), 0
	if size > copyBytes {
		large = size
	}
	if size > maxPayload {
		return refusalOf(p, m)
	}
	var l *datagram
	if s.length < maxQueued && (s.large == 0 || s.large+large <= maxQueuedBytes) {
		l = o.allocLocked()
	}
	if l == nil {
		if !s.refused {
			s.refused = true
			o.refused = append(o.refused, p.Index)
		}
		return sock.ErrWouldBlock
	}
	l.toPeer = !m.Addr.IsValid()
	if !l.toPeer && !l.to.SetAddrPort(m.Addr, s.family) {
		o.freeLocked(l)
		return refusalOf(p, m)
	}
	l.socket, l.bytes = p.Index, size
	if large > 0 {
		l.large = append([]byte(nil), m.Data...)
	} else {
		copy(l.buf[:], m.Data)
	}
	if s.last == nil {
		s.first = l
	} else {
		s.last.next = l
	}
	s.last = l
	s.length++
	s.large += large
	p.Queued.Store(true)
	return nil
}

// refusalOf returns the error of a datagram that no socket can send.
func refusalOf(p *driver.PacketSocket, m *sock.Message) error {
	_, err := p.WriteBatch([]sock.Message{*m})
	return err
}

// popLocked removes the first datagram from the queue. length and large still include it.
func (s *sendQueue) popLocked() *datagram {
	l := s.first
	if s.first = l.next; s.first == nil {
		s.last = nil
	}
	l.next = nil
	return l
}

// doneLocked frees a popped datagram that was sent, or will not be, and updates the counts.
func (o *outgoing) doneLocked(s *packetSocket, l *datagram) {
	s.length--
	s.large -= len(l.large)
	if s.length == 0 {
		s.p.Queued.Store(false)
	}
	o.freeLocked(l)
}

func (o *outgoing) setDueLocked(s *packetSocket, index uint32) {
	if !s.isDue {
		s.isDue = true
		o.due = append(o.due, index)
	}
}

// sendDue is called at the start of a turn: it sends the due queues, and starts polls.
func (d *Driver) sendDue() {
	if d.packets.buffers == nil {
		return
	}
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, index := range o.due {
		s := &d.packets.sockets[index]
		if !s.isDue {
			continue // its socket is gone
		}
		s.isDue = false
		switch {
		case s.length == 0 || s.inRing != nil || s.blocked:
		case s.length == 1 && (!s.first.toPeer || d.makeSpace()):
			d.submitLocked(s)
		default:
			d.sendQueueLocked(index)
		}
	}
	o.due = o.due[:0]
	for _, index := range o.polls {
		if s := &d.packets.sockets[index]; !s.gone && (s.blocked || s.awaited) {
			d.pollWritable(index)
		}
	}
	o.polls = o.polls[:0]
}

// submitLocked starts to send the first datagram of a queue. The io_uring_enter(2) that
// submits it also completes it.
func (d *Driver) submitLocked(s *packetSocket) {
	l := s.popLocked()
	s.inRing = l
	s.ops++
	if l.toPeer {
		d.packets.out.unsubmitted, d.packets.toPeer = true, true
	}
	q := d.begin(opPacketSend, l.index)
	if d.has.sendsTo {
		q.SetSendTo(s.fd, l.data(), l.address())
	} else {
		q.SetSendDatagram(s.fd, &l.message, l.data(), l.address())
	}
	d.sendBytes += l.bytes
}

// noteSubmitted is called after the submission queue has been submitted. A datagram that stays in the
// queue because of an error may still go to a later peer.
func (d *Driver) noteSubmitted() {
	if !d.packets.toPeer {
		return
	}
	o := &d.packets.out
	o.mu.Lock()
	o.unsubmitted, d.packets.toPeer = false, false
	o.mu.Unlock()
	o.submitted.Broadcast()
}

// sendQueueLocked sends a queue by system calls, until it is empty or would block.
func (d *Driver) sendQueueLocked(index uint32) {
	o := &d.packets.out
	s := &d.packets.sockets[index]
	if o.batch == nil {
		o.batch = new(sys.Batch)
	}
	for s.first != nil {
		n := 0
		for l := s.first; l != nil && n < sys.MaxBatch; l = l.next {
			o.batch.Set(n, l.data(), l.address())
			n++
		}
		sent, e := sys.SendMMsg(s.fd, o.batch, 0, n)
		o.batch.Clear(n)
		for range sent {
			o.doneLocked(s, s.popLocked())
		}
		switch {
		case sys.WouldBlock(e) || e == 0 && sent == 0:
			s.blocked = true
			o.polls = append(o.polls, index)
			return
		case e != 0:
			l := s.popLocked()
			o.failures = append(o.failures, sendFailure{s.p, index, l.bytes, e})
			o.doneLocked(s, l)
		}
	}
}

// packetSent handles a completion of a send.
func (d *Driver) packetSent(number uint32, res int32) {
	o := &d.packets.out
	o.mu.Lock()
	l := o.all[number]
	index := l.socket
	s := &d.packets.sockets[index]
	s.inRing = nil
	s.ops--
	e := syscall.Errno(max(-res, 0))
	if sys.WouldBlock(e) && !s.gone {
		if l.next = s.first; s.last == nil {
			s.last = l
		}
		s.first = l
		s.blocked = true
		o.polls = append(o.polls, index)
		o.mu.Unlock()
		return
	}
	bytes := l.bytes
	o.doneLocked(s, l)
	if s.length > 0 {
		o.setDueLocked(s, index)
	}
	o.mu.Unlock()
	switch {
	case s.gone:
		d.finishPacket(index)
	case e != 0:
		d.reportSendFailed(s.p, bytes, e)
	}
}

func (d *Driver) reportSendFailed(p *driver.PacketSocket, bytes int, e syscall.Errno) {
	p.Up.SendFailed(bytes, failure("write", "sendto", handle.Of(p), nil, nil, e))
}

// unblockQueue has the next turn send a queue that was blocked. It reports whether to call
// Writable.
func (d *Driver) unblockQueue(index uint32) (awaited bool) {
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &d.packets.sockets[index]
	awaited, s.awaited = s.awaited, false
	s.blocked = false
	if s.length > 0 && s.inRing == nil {
		o.setDueLocked(s, index)
	}
	return awaited
}

// endQueue sends what a socket has queued, as far as that does not block, and drops the rest.
func (d *Driver) endQueue(index uint32) {
	o := &d.packets.out
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &d.packets.sockets[index]
	s.gone = true
	if !s.blocked {
		d.sendQueueLocked(index)
	}
	for s.first != nil {
		o.doneLocked(s, s.popLocked())
	}
	s.isDue, s.refused = false, false
	s.p.Queued.Store(false) // the socket is closed: its own methods return the error
}

// reportSends reports the errors that sendQueueLocked has met. It calls Writable for sockets
// whose queue was full, as soon as an eighth of it is free again.
func (d *Driver) reportSends() {
	if d.packets.buffers == nil {
		return
	}
	o := &d.packets.out
	o.mu.Lock()
	refused := len(o.refused)
	o.reporting, o.failures = o.failures, o.reporting[:0]
	o.mu.Unlock()
	for _, f := range o.reporting {
		if s := &d.packets.sockets[f.index]; s.p == f.p && !s.gone {
			d.reportSendFailed(f.p, f.bytes, f.errno)
		}
	}
	clear(o.reporting)
	for range refused {
		if p := o.nextWritable(d.packets.sockets); p != nil {
			p.Up.Writable()
		}
	}
}

// nextWritable removes the first socket from refused. It returns the socket if its queue has
// space now, and otherwise appends it to refused again.
func (o *outgoing) nextWritable(sockets []packetSocket) *driver.PacketSocket {
	o.mu.Lock()
	defer o.mu.Unlock()
	index := o.refused[0]
	o.refused = o.refused[:copy(o.refused, o.refused[1:])]
	s := &sockets[index]
	switch {
	case !s.refused:
	case s.length > maxQueued-maxQueued/8 || s.large > maxQueuedBytes/2 || !o.hasFreeLocked():
		o.refused = append(o.refused, index)
	default:
		s.refused = false
		return s.p
	}
	return nil
}
