package uring

import (
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// maxCompletions is how many completions one turn handles at most.
const maxCompletions = 1024

// Turn implements driver.Driver.
func (d *Driver) Turn(timeout time.Duration) error {
	err := d.collect(d.submit(timeout))
	d.deliver()
	return err
}

// submit starts and cancels the operations that were requested since the last turn, and returns how
// long the turn may wait. The operations leave with the call by which collect enters the ring.
func (d *Driver) submit(timeout time.Duration) time.Duration {
	d.turn++
	if !d.started {
		d.broken = d.start()
	}
	if d.broken != nil {
		return 0
	}
	d.sendDue()
	d.applyChanges()
	if d.hasWork() {
		return 0
	}
	return timeout
}

// collect waits, for at most timeout, and takes what has happened from the kernel: here completions,
// which stay in the ring until deliver handles them. It makes no upcalls.
func (d *Driver) collect(timeout time.Duration) error {
	if d.broken == nil {
		d.broken = d.enter(timeout)
	}
	return d.broken
}

// deliver makes the upcalls: those of what was collected, and those of earlier turns' streams,
// listeners and sockets that have more. If the ring has failed, it delivers what had completed, and
// ends the operations of what is released.
func (d *Driver) deliver() {
	if d.broken != nil {
		d.abandon()
	}
	busy, accepting := d.Busy.Len(), d.Accepting.Len()
	d.deliverCompletions()
	d.endPacketTurn()
	for range busy {
		if s := d.Busy.Take(); s.Flags&attached != 0 {
			d.serveBusy(s)
		}
	}
	for range accepting {
		d.serveAccepting(d.Accepting.Take())
	}
	d.deliverWatches()
	d.ReportReleased()
	d.buffers.publish()
	d.sleep.notified.Store(false)
}

// hasWork reports whether there are upcalls to make for which no completion will come.
func (d *Driver) hasWork() bool {
	return d.HasWork() || len(d.queuedSQEs) > 0 || d.watches.pending || d.sendsHaveFailed() ||
		d.starved.Len() > 0 && d.buffers.available() > 0 // one turn may not serve all of them
}

// deliverCompletions handles the completions in the ring. None is handled twice, also if an upcall ends the
// goroutine (runtime.Goexit): the next turn handles the rest.
func (d *Driver) deliverCompletions() {
	first, end := d.ring.Ready()
	if end-first > maxCompletions {
		end = first + maxCompletions
	}
	next := first
	defer func() {
		if next != first {
			d.ring.Seen(next)
			d.sleep.sinceYield += int(next - first)
		}
	}()
	d.onlyOne = end-first == 1
	for next != end {
		q := d.ring.At(next)
		next++
		d.complete(q.UserData, q.Res, q.Flags)
	}
	d.onlyOne = false
	if d.packets.n > 0 {
		d.deliverPackets()
	}
}

func (d *Driver) complete(data uint64, res int32, flags uint32) {
	op, index := data&opMask, uint32(data)
	last := flags&sys.IORING_CQE_F_MORE == 0
	if last && op != opCancel {
		d.inFlight--
	}
	if d.packets.n > 0 && (op != opPacket || index != d.packets.of) {
		d.deliverPackets()
	}
	if d.abandoned && d.isAbandoned(op, index) {
		return
	}
	switch op {
	case opReceive:
		d.received(index, res, flags)
	case opSend:
		d.sent(index, res)
	case opConnect:
		d.connected(d.slots.At(index).stream, syscall.Errno(-res))
	case opAccept:
		d.accepted(index, res, last)
	case opPacket:
		d.packetReceived(index, res, flags)
	case opPacketSend:
		d.packetSent(index, res)
	case opPacketPoll:
		d.packetWritable(index)
	case opCancel:
		d.cancelFailed(data<<24&opMask, index, syscall.Errno(-res))
	case opWake:
		if last {
			d.armWake()
		}
	case opWatches:
		d.watches.pending = true
		d.watches.armed = !last
	}
}
