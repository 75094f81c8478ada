package uring

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// The user data of an operation is its kind and its owner's index. An owner has at most one
// operation of a kind, and its index is not reused while it has any, so a completion always
// belongs to that owner.
const (
	opReceive = uint64(iota) << 56
	opSend
	opConnect
	opAccept
	opWake
	opWatches
	opCancel
	opPacket
	opPacketSend
	opPacketPoll
)

const opMask = uint64(0xff) << 56

// nextSQE returns a submission queue entry, which the caller must fill in before any other
// call. This turn or the next submits it. If it starts an operation, use begin instead.
func (d *Driver) nextSQE() *sys.URingSQE {
	if len(d.queuedSQEs) == 0 {
		if q := d.ring.Next(); q != nil {
			return q
		}
		if d.started {
			d.submitQueue(0) // enter reports the error
		}
	}
	return d.queueSQE()
}

// queueSQE is nextSQE without a system call.
func (d *Driver) queueSQE() *sys.URingSQE {
	if len(d.queuedSQEs) == 0 {
		if q := d.ring.Next(); q != nil {
			return q
		}
	}
	d.queuedSQEs = append(d.queuedSQEs, sys.URingSQE{})
	return &d.queuedSQEs[len(d.queuedSQEs)-1]
}

// begin returns the submission of a new operation.
func (d *Driver) begin(op uint64, index uint32) *sys.URingSQE {
	d.inFlight++
	q := d.nextSQE()
	q.UserData = op | uint64(index)
	return q
}

func (d *Driver) cancel(op uint64, index uint32) {
	q := d.nextSQE()
	q.SetCancel(op | uint64(index))
	q.UserData = opCancel | op>>24 | uint64(index)
}

// makeSpace submits what is in the submission queue if that is full. It reports whether the next
// submission goes into the queue, not into queuedSQEs.
func (d *Driver) makeSpace() bool {
	if len(d.queuedSQEs) > 0 {
		return false
	}
	if d.ring.Pending() >= len(d.ring.SQEs) && d.started {
		d.submitQueue(0) // enter reports the error
	}
	return d.ring.Pending() < len(d.ring.SQEs)
}

// moveQueuedSQEs moves queuedSQEs into the submission queue.
func (d *Driver) moveQueuedSQEs() {
	n := 0
	for ; n < len(d.queuedSQEs); n++ {
		q := d.ring.Next()
		if q == nil {
			if d.submitQueue(0); d.ring.Pending() >= len(d.ring.SQEs) {
				break
			}
			q = d.ring.Next()
		}
		*q = d.queuedSQEs[n]
	}
	d.queuedSQEs = d.queuedSQEs[:copy(d.queuedSQEs, d.queuedSQEs[n:])]
}

// cancelFailed cancels an operation again if the kernel has not found it: between two
// attempts the kernel does not list an operation, and it may wait again afterwards.
func (d *Driver) cancelFailed(op uint64, index uint32, e syscall.Errno) {
	if e == syscall.ENOENT && d.isUnwanted(op, index) {
		d.cancel(op, index)
	}
}

func (d *Driver) isUnwanted(op uint64, index uint32) bool {
	if op == opAccept {
		a := d.listeners.At(index)
		return a != nil && a.cancelling
	}
	if op != opReceive && op != opSend && op != opConnect {
		return d.packets.isUnwanted(op, index)
	}
	s := d.slots.At(index).stream
	switch {
	case s == nil:
		return false
	case op == opReceive:
		return s.Flags&cancelling != 0
	case op == opSend:
		return s.Flags&(gone|sending) == gone|sending
	}
	return s.Flags&(gone|connecting) == gone|connecting
}
