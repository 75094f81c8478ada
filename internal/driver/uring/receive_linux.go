package uring

import (
	"io"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// mayReceive reports whether a receive of the stream may be in flight, or be started.
func (d *Driver) mayReceive(s *driver.Stream) bool {
	return s.Flags&(receiving|ended|gone|starved) == receiving && !d.slots.At(s.Index).hasMore()
}

// receivesOnce reports whether each receive of the stream has one completion, after which the
// driver starts the next one. Streams that do not have a multishot receive.
//
// The multishot receive of a Unix stream may miss the peer's FIN. The kernel looks for more only
// if the socket reports that it has unread bytes (msg_inq), or does not report their number. A
// TCP socket counts the FIN as one byte, and a Unix socket reported no number before Linux 6.17.
// Since then a Unix socket whose peer has sent FIN reports 0, so a receive that takes the last
// bytes after the FIN waits for an event that does not come. The kernel's mend of 2026 ("io_uring/poll:
// fix multishot recv missing EOF on wakeup race", https://github.com/axboe/liburing/issues/1549)
// covers the case that two events are pending, but not that the bytes and the FIN are there when the
// receive starts to wait: Linux 6.18.44 still misses the FIN then.
// A receive that starts anew always reports the FIN.
func receivesOnce(s *driver.Stream) bool { return handle.Of(s).Kind() == handle.UnixStream }

// receive starts a receive of the stream, into as many buffers as it needs.
func (d *Driver) receive(s *driver.Stream) {
	s.Flags |= armed
	q, fd := d.begin(opReceive, s.Index), d.fdOf(s)
	if receivesOnce(s) {
		q.SetRecvOnce(fd, bufferGroup, d.bundles)
	} else {
		q.SetRecv(fd, bufferGroup, d.bundles)
	}
}

// maxLimit is the highest limit of a receive: the kernel has 32 bits for it.
const maxLimit = 1 << 30

// receiveStarved starts receives of streams that found no buffer, as many as there are
// available buffers. Each is limited to the budget of a turn, or to one buffer if the kernel has
// no limits or the receive is not multishot. A receive without a limit takes all available buffers, so a few busy streams
// would keep the others waiting.
func (d *Driver) receiveStarved() {
	for range min(d.buffers.available(), d.starved.Len()) {
		s := d.starved.Take()
		if s.Flags&(attached|armed) != attached || !d.mayReceive(s) {
			continue
		}
		s.Flags |= armed
		q, fd := d.begin(opReceive, s.Index), d.fdOf(s)
		if d.has.limits && !receivesOnce(s) {
			q.SetRecvSome(fd, bufferGroup, d.bundles, min(d.Budget, maxLimit))
		} else {
			q.SetRecvOnce(fd, bufferGroup, false)
		}
	}
}

// received handles a completion of a receive.
func (d *Driver) received(index uint32, res int32, flags uint32) {
	x := d.slots.At(index)
	s := x.stream
	if flags&sys.IORING_CQE_F_MORE == 0 {
		s.Flags &^= armed | cancelling
	}
	id, has := uint16(flags>>sys.IORING_CQE_BUFFER_SHIFT), flags&sys.IORING_CQE_F_BUFFER != 0
	switch {
	case s.Flags&(gone|draining) == gone:
		if has {
			d.giveBack(id, int(res))
		}
		d.finishIfIdle(s)
		return
	case has && res > 0:
		s.Flags |= delivering
		d.arrived(s, id, int(res))
		s.Flags &^= delivering
		if s.Flags&(gone|draining) == gone {
			d.finishIfIdle(s)
			return
		}
	case has:
		d.buffers.give(id)
	}
	if s.Flags&draining != 0 {
		if e := syscall.Errno(-res); s.Flags&armed == 0 && res < 0 && !isTransient(e) && e != syscall.ENOBUFS {
			x.end = -res // the kernel does not report it again
			d.AddBusy(s)
		}
		d.finishIfIdle(s)
	}
	if s.Flags&(armed|gone) != 0 {
		return
	}
	switch e := syscall.Errno(-res); {
	case res > 0 || e == syscall.ECANCELED || e == syscall.EAGAIN || e == syscall.EINTR:
		d.markChanged(s)
	case e == syscall.ENOBUFS:
		d.starved.Put(s, &s.State)
	default:
		d.slots.At(index).end = -res
		if s.Flags&receiving != 0 {
			d.endOrAddBusy(s)
		} else if res < 0 {
			d.AddBusy(s) // so that Failed reports it before Resume
		}
	}
}

// arrived handles n received bytes, in the buffer id and the ones after it.
func (d *Driver) arrived(s *driver.Stream, id uint16, n int) {
	for {
		last, bytes := d.contiguous(id, n, d.Budget-d.deliveredThisTurn(d.slots.At(s.Index)))
		n -= bytes
		next := id
		if n > 0 {
			next = d.buffers.After(last) // before deliverOrHold gives last to the kernel
		}
		d.deliverOrHold(s, id, bytes)
		switch {
		case n == 0:
			return
		case s.Flags&(gone|draining) == gone: // since the upcall
			d.giveBack(next, n)
			return
		}
		id = next
	}
}

// deliveredThisTurn returns how many bytes were delivered to a stream in this turn.
func (d *Driver) deliveredThisTurn(x *slot) int {
	if x.turn != d.turn {
		x.turn, x.delivered = d.turn, 0
	}
	return int(x.delivered)
}

// contiguous returns the last of the buffers from id on that can be delivered in one call, and
// how many of the n bytes they have. They have at least one buffer's bytes, and exceed most by
// less than one buffer.
func (d *Driver) contiguous(id uint16, n, most int) (last uint16, bytes int) {
	last, bytes = id, min(n, d.buffers.Size)
	for bytes < n && bytes < most && d.buffers.After(last) == last+1 {
		last++
		bytes = min(n, bytes+d.buffers.Size)
	}
	return last, bytes
}

// giveBack gives the buffers of a receive of n bytes, at least one, back to the kernel.
func (d *Driver) giveBack(id uint16, n int) {
	for {
		next := d.buffers.After(id)
		d.buffers.give(id)
		if n -= d.buffers.Size; n <= 0 {
			return
		}
		id = next
	}
}

// deliverOrHold delivers n bytes, in the buffer id and the ones after it. It holds them if the
// stream is paused, has used up its budget, or already has something held.
func (d *Driver) deliverOrHold(s *driver.Stream, id uint16, n int) {
	x := d.slots.At(s.Index)
	takes := s.Flags&(receiving|draining) != 0
	if !takes || d.deliveredThisTurn(x) >= d.Budget || x.hasMore() {
		for ; n > 0; n -= d.buffers.Size {
			d.buffers.hold(&x.held, id, min(n, d.buffers.Size))
			id++
		}
		if takes {
			d.AddBusy(s)
		}
		d.markChanged(s)
		return
	}
	x.delivered += int32(n)
	d.deliverBytes(s, d.buffers.Get(id, n))
	for ; n > 0; n -= d.buffers.Size {
		d.buffers.give(id)
		id++
	}
}

func (d *Driver) deliverBytes(s *driver.Stream, b []byte) {
	if !s.Up.Received(b) {
		d.Pause(s)
	}
}

// spill copies what is held for a paused stream to memory of its own, so that the other
// streams do not run out of buffers.
func (d *Driver) spill(x *slot) {
	if x.rare == nil {
		x.rare = &rare{}
	}
	for !x.held.empty() {
		id, b := d.buffers.take(&x.held)
		x.rare.spilled = append(x.rare.spilled, b...)
		d.buffers.give(id)
	}
}

// hasMore reports whether there is something to deliver or report before new data.
func (x *slot) hasMore() bool { return x.end != noEnd || !x.held.empty() || x.rare != nil }

func (d *Driver) endOrAddBusy(s *driver.Stream) {
	if x := d.slots.At(s.Index); x.held.empty() && x.rare == nil {
		d.reportEnd(s)
		return
	}
	d.AddBusy(s)
}

// serveBusy delivers and reports what is held for a busy stream, up to its budget.
func (d *Driver) serveBusy(s *driver.Stream) {
	d.reportFailure(s)
	for s.Flags&(receiving|draining) != 0 {
		x := d.slots.At(s.Index)
		switch {
		case d.deliveredThisTurn(x) >= d.Budget:
			d.AddBusy(s)
			return
		case x.rare != nil:
			b := x.rare.spilled
			n := min(len(b), d.buffers.Size)
			if x.rare.spilled = b[n:]; n == len(b) {
				x.rare = nil
			}
			x.delivered += int32(n)
			d.deliverBytes(s, b[:n:n])
		case !x.held.empty():
			id, b := d.buffers.take(&x.held)
			x.delivered += int32(len(b))
			d.deliverBytes(s, b)
			d.buffers.give(id)
		case x.end != noEnd:
			d.reportEnd(s)
			if s.Flags&draining != 0 {
				d.finishIfIdle(s)
			}
			return
		case s.Flags&draining != 0:
			d.finishIfIdle(s)
			return
		default:
			d.markChanged(s)
			return
		}
	}
}

func (d *Driver) reportEnd(s *driver.Stream) {
	x := d.slots.At(s.Index)
	e := syscall.Errno(x.end)
	x.end = noEnd
	if e == 0 {
		d.markChanged(s) // so that a later failure is noticed
		s.ReportReceiveEnded(io.EOF)
		return
	}
	s.ReportReceiveEnded(receiveError(s, e))
}

func receiveError(s *driver.Stream, e syscall.Errno) error {
	return failure("read", "recv", handle.Of(s), s.LocalNetAddr(), s.RemoteNetAddr(), e)
}
