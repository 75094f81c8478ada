package sim

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// packetSender is the Driver with Adversity.AsyncPackets. Only the type differs: whether a driver is a
// driver.PacketSender cannot depend on a field.
type packetSender struct{ *Driver }

var _ driver.PacketSender = packetSender{}

// outgoing holds the datagrams that are to be sent: each socket has a queue, an outbox, and a turn sends
// what the queues hold, or a part of it.
type outgoing struct {
	mu    sync.Mutex // guards all fields, and those of the outboxes: other goroutines queue
	boxes map[*driver.PacketSocket]*outbox
	due   []*outbox // that are not empty, in the order in which they were filled
	// reports are the failures and the Writable that deliver has to report.
	reports []report
}

// maxQueued is how many datagrams an outbox holds.
const maxQueued = 256

// maxPayload is the longest datagram of IPv6, which is longer than that of IPv4. Sending reports what is
// too long for the socket.
const maxPayload = 1<<16 - 1 - 8

type outbox struct {
	p *driver.PacketSocket
	// fd is in use (handle.Handle.Use) until Unbind: what was queued before the socket's Close is sent.
	fd     sys.FD
	family int
	unsent []sock.Message // whose memory is the outbox's own
	// refused is set when a datagram found the outbox full: Writable must follow.
	refused bool
}

// A report is of a datagram of so many bytes that was not sent or, if err is nil, Writable.
type report struct {
	box   *outbox
	bytes int
	err   error
}

func newOutgoing() *outgoing { return &outgoing{boxes: map[*driver.PacketSocket]*outbox{}} }

// Bind implements driver.Driver.
func (d packetSender) Bind(p *driver.PacketSocket) error {
	h := handle.Of(p)
	fd, ok := h.Use()
	if !ok {
		return fmt.Errorf("sim: binding a %v: %w", h.Kind(), pollux.ErrSourceClosed)
	}
	local, _ := sys.LocalAddr(fd) // cannot fail: fd is an open socket
	if err := d.Driver.Bind(p); err != nil {
		h.Done()
		return err
	}
	o := d.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.boxes[p] = &outbox{p: p, fd: fd, family: local.Family()}
	return nil
}

// Unbind implements driver.Driver. It sends what is unsent.
func (d packetSender) Unbind(p *driver.PacketSocket) {
	o := d.out
	o.mu.Lock()
	if b := o.boxes[p]; b != nil {
		for len(b.unsent) > 0 {
			n, e := b.send(len(b.unsent))
			if sys.WouldBlock(e) {
				break
			}
			if e != 0 {
				n++ // no owner is left to report it to
			}
			b.unsent = b.unsent[n:]
		}
		delete(o.boxes, p)
		b.unsent = nil
		p.Queued.Store(false) // the socket is closed: its own methods return the error
		handle.Of(p).Done()
	}
	o.mu.Unlock()
	d.Driver.Unbind(p)
}

// send sends the first datagrams, up to the given number, and returns how many, and the error of the next.
func (b *outbox) send(most int) (n int, e syscall.Errno) {
	for ; n < most; n++ {
		m := &b.unsent[n]
		if !m.Addr.IsValid() {
			_, e = sys.Send(b.fd, m.Data, 0)
		} else {
			var to sys.Sockaddr
			to.SetAddrPort(m.Addr, b.family)
			_, e = sys.SendTo(b.fd, m.Data, &to)
		}
		if e != 0 {
			return n, e
		}
	}
	return n, 0
}

// SendPackets implements driver.PacketSender.
func (d packetSender) SendPackets(p *driver.PacketSocket, ms []sock.Message) (int, error) {
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	return d.out.queueLocked(p, ms)
}

// QueuePackets implements driver.PacketSender.
func (d packetSender) QueuePackets(p *driver.PacketSocket, ms []sock.Message) (n int, err error, ok bool) {
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	if !p.Queued.Load() {
		return 0, nil, false
	}
	n, err = d.out.queueLocked(p, ms)
	return n, err, true
}

// KeepPeer implements driver.PacketSender.
func (d packetSender) KeepPeer(p *driver.PacketSocket) {
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	b := d.out.boxes[p]
	if b == nil {
		return
	}
	peer, e := sys.PeerAddr(b.fd)
	if e != 0 {
		return // there is no peer, and sending to it fails
	}
	for i := range b.unsent {
		if !b.unsent[i].Addr.IsValid() {
			b.unsent[i].Addr = peer.AddrPort()
		}
	}
}

// queueLocked appends copies of datagrams to the socket's outbox, and returns how many.
func (o *outgoing) queueLocked(p *driver.PacketSocket, ms []sock.Message) (int, error) {
	b := o.boxes[p]
	if b == nil {
		return p.WriteBatch(ms) // the socket is closed
	}
	for i, m := range ms {
		switch {
		case len(m.Data) > maxPayload || !b.fits(m.Addr):
			_, err := p.WriteBatch(ms[i : i+1]) // returns the error of this datagram
			return i, err
		case len(b.unsent) == maxQueued:
			b.refused = true
			return i, sock.ErrWouldBlock
		case len(b.unsent) == 0:
			o.due = append(o.due, b)
		}
		b.unsent = append(b.unsent, sock.Message{Data: bytes.Clone(m.Data), Addr: m.Addr})
		p.Queued.Store(true)
	}
	return len(ms), nil
}

// fits reports whether the socket can send to the address, or has a peer to send to if that is zero.
func (b *outbox) fits(to netip.AddrPort) bool {
	if !to.IsValid() {
		_, e := sys.PeerAddr(b.fd)
		return e == 0
	}
	var a sys.Sockaddr
	return a.SetAddrPort(to, b.family)
}

// sendDue sends what is queued, or a part of it.
func (d *Driver) sendDue() {
	o := d.out
	o.mu.Lock()
	defer o.mu.Unlock()
	due := o.due
	o.due = nil
	for _, b := range due {
		if len(b.unsent) > 0 && !d.dice.decide(d.adversity.Delays) {
			d.sendSomeLocked(b)
		}
		if len(b.unsent) > 0 {
			o.due = append(o.due, b)
		}
	}
}

// sendSomeLocked sends the datagrams of an outbox, or a part of them. A send that would block is tried
// again by the next turn: on this network, only faults have one block.
func (d *Driver) sendSomeLocked(b *outbox) {
	o := d.out
	left := d.dice.part(len(b.unsent), d.adversity.PartialSends)
	for left > 0 {
		n, e := b.send(left)
		if sys.WouldBlock(e) {
			left = n
		} else if e != 0 {
			err := handle.Of(b.p).CallError("write", "sendto", e)
			o.reports = append(o.reports, report{b, len(b.unsent[n].Data), err})
			n++
		}
		b.unsent = slices.Delete(b.unsent, 0, n)
		left -= n
	}
	if len(b.unsent) == 0 {
		b.p.Queued.Store(false)
	}
	if b.refused && len(b.unsent) <= maxQueued/2 {
		b.refused = false
		o.reports = append(o.reports, report{box: b})
	}
}

// hasDue reports whether there is something to send in the next turn.
func (d *Driver) hasDue() bool {
	if d.out == nil {
		return false
	}
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	return len(d.out.due) > 0 || len(d.out.reports) > 0
}

// reportSends makes the upcalls about datagrams that were queued.
func (d *Driver) reportSends() {
	o := d.out
	o.mu.Lock()
	reports := o.reports
	o.reports = nil
	o.mu.Unlock()
	for _, r := range reports {
		o.mu.Lock()
		bound := o.boxes[r.box.p] == r.box // not since an upcall has called Unbind
		o.mu.Unlock()
		switch {
		case !bound:
		case r.err != nil:
			r.box.p.Up.SendFailed(r.bytes, r.err)
		default:
			r.box.p.Up.Writable()
		}
	}
}
