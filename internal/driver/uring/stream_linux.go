package uring

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// slot is the driver's state of a stream.
type slot struct {
	stream    *driver.Stream
	fd        int32  // in use (Handle.Use) until finishIfIdle, so that Close does not close it
	held      queue  // received buffers that could not be delivered yet
	turn      uint32 // the turn that delivered counts for
	delivered int32  // bytes delivered in that turn
	end       int32  // how receiving has ended, not reported yet: noEnd, 0, or an errno
	rare      *rare

	// One of them is set while a send is in flight, and keeps its memory reachable.
	bytes   *byte
	message *sys.URingMessage
}

// fdOf returns the descriptor of an attached stream.
func (d *Driver) fdOf(s *driver.Stream) sys.FD { return sys.FD(d.slots.At(s.Index).fd) }

// rare is state that few streams need.
type rare struct {
	spilled []byte // received before what is in held
}

const noEnd = -1

// Flags of a stream.
const (
	receiving        = 1 << iota // between Resume and Pause
	armed                        // a receive is in flight
	cancelling                   // its cancellation is in flight, or about to be
	sending                      // a send is in flight; Sent must follow
	connecting                   // Connected must follow
	awaiting                     // connecting by a poll; ConnectError returns the result
	changed                      // in changed
	busy                         // in busy
	starved                      // in starved
	ended                        // ReceiveEnded was called
	gone                         // released or detached
	attached                     // has a slot
	draining                     // detached; what is held is delivered before Released
	awaitingWritable             // in the epoll set until it is writable
	delivering                   // the data of a completion is being delivered
	inSet                        // in the epoll set
	failed                       // the epoll set has reported a failure that Failed has not
	failureReported              // by Failed or ReceiveEnded

	operating = armed | sending | connecting | delivering
)

// Attach implements driver.Driver.
func (d *Driver) Attach(s *driver.Stream) error {
	fd, ok := s.PollHandle().Use()
	if !ok {
		return fmt.Errorf("uring: attaching a stream: %w", pollux.ErrSourceClosed)
	}
	if n := len(d.freeSlots); n > 0 {
		s.Index = d.freeSlots[n-1]
		d.freeSlots = d.freeSlots[:n-1]
	} else {
		s.Index = d.slots.Append(slot{})
	}
	*d.slots.At(s.Index) = slot{stream: s, fd: int32(fd), held: noQueue, end: noEnd}
	s.Flags = attached
	d.markChanged(s)
	return nil
}

// Connect implements driver.Driver. A Unix stream connects immediately or fails, and does not
// use the ring, which would retry many times before it returns EAGAIN (the listener's backlog
// is full).
func (d *Driver) Connect(s *driver.Stream) error {
	inRing := s.PollHandle().Kind() == handle.TCPStream
	if !inRing {
		if err := s.Internal().BeginConnect(); err != nil {
			return err
		}
	}
	if err := d.Attach(s); err != nil {
		return err
	}
	if inRing {
		s.Flags |= connecting
		d.begin(opConnect, s.Index).SetConnect(d.fdOf(s), s.Internal().ConnectTo())
	} else {
		d.awaitConnect(s)
	}
	return nil
}

// awaitConnect polls for the end of the connection attempt that the system has started.
func (d *Driver) awaitConnect(s *driver.Stream) {
	s.Flags |= connecting | awaiting
	d.begin(opConnect, s.Index).SetPoll(d.fdOf(s), sys.POLLOUT, 0)
}

// Resume implements driver.Driver.
func (d *Driver) Resume(s *driver.Stream) {
	if s.Flags&(receiving|gone|ended) != 0 {
		return
	}
	s.Flags |= receiving
	if d.slots.At(s.Index).hasMore() {
		d.addBusy(s)
	}
	d.markChanged(s)
}

// Pause implements driver.Driver. The next turn cancels the receive, unless Resume comes
// first; what the kernel receives until then is held.
func (d *Driver) Pause(s *driver.Stream) {
	if s.Flags&(receiving|gone) == receiving {
		s.Flags &^= receiving
		d.markChanged(s)
	}
}

// connected handles a completion of the operation that Connect or awaitConnect began.
func (d *Driver) connected(s *driver.Stream, e syscall.Errno) {
	awaited := s.Flags&awaiting != 0
	s.Flags &^= connecting | awaiting
	if s.Flags&gone != 0 {
		d.finishIfIdle(s)
		return
	}
	var err error
	switch {
	case awaited:
		err = s.ConnectError()
	case e == syscall.EINPROGRESS || e == syscall.EALREADY || e == syscall.EINTR:
		// A kernel thread has tried the operation; it does not wait on a non-blocking
		// socket.
		err = sock.ErrWouldBlock
	default:
		err = s.Internal().RecordConnect(e)
	}
	if errors.Is(err, sock.ErrWouldBlock) {
		d.awaitConnect(s)
		return
	}
	if err != nil {
		s.Flags |= failureReported
	}
	d.markChanged(s)
	s.Up.Connected(err)
}

// Release implements driver.Driver.
func (d *Driver) Release(s *driver.Stream) {
	if s.Flags&gone == 0 {
		s.Close() // takes effect after the last operation: the slot still uses the descriptor
		d.markGone(s)
	}
}

// Detach implements driver.Driver.
func (d *Driver) Detach(s *driver.Stream) {
	if s.Flags&gone != 0 {
		return
	}
	if s.Flags&attached != 0 {
		s.Flags |= draining
	}
	d.markGone(s)
}

func (d *Driver) markGone(s *driver.Stream) {
	d.leaveSet(s)
	s.Flags = s.Flags&^receiving | gone
	if s.Flags&attached == 0 {
		d.released = append(d.released, s)
		return
	}
	x := d.slots.At(s.Index)
	if x.end == 0 || s.Flags&draining == 0 {
		x.end = noEnd
	}
	if s.Flags&draining == 0 {
		for !x.held.empty() {
			id, _ := d.buffers.take(&x.held)
			d.buffers.give(id)
		}
		x.rare = nil
	} else if x.hasMore() {
		d.addBusy(s)
	}
	if !d.finishIfIdle(s) {
		d.markChanged(s)
	}
}

// finishIfIdle frees a stream's descriptor and slot if it has no operation in flight and
// nothing is held for it.
func (d *Driver) finishIfIdle(s *driver.Stream) bool {
	if s.Flags&operating != 0 || d.slots.At(s.Index).hasMore() {
		return false
	}
	s.Flags &^= draining
	s.PollHandle().Done()
	*d.slots.At(s.Index) = slot{}
	d.freeSlots = append(d.freeSlots, s.Index)
	d.released = append(d.released, s)
	return true
}

// markChanged has the next turn apply the stream's changes.
func (d *Driver) markChanged(s *driver.Stream) {
	if s.Flags&changed == 0 {
		s.Flags |= changed
		d.changed = append(d.changed, s.Index)
	}
}

// applyChanges starts and cancels operations as requested since the last turn. Streams that
// wait for buffers come first.
func (d *Driver) applyChanges() {
	if len(d.starved) > 0 {
		d.receiveStarved()
	}
	for _, index := range d.changed {
		// A reused index may be visited twice.
		if s := d.slots.At(index).stream; s != nil {
			d.apply(s)
		}
	}
	d.changed = d.changed[:0]
	d.applyAccepting()
	d.moveQueuedSQEs()
}

func (d *Driver) apply(s *driver.Stream) {
	x := d.slots.At(s.Index)
	s.Flags &^= changed
	if s.Flags&gone != 0 {
		if s.Flags&sending != 0 {
			d.cancel(opSend, s.Index)
		}
		if s.Flags&connecting != 0 {
			d.cancel(opConnect, s.Index)
		}
	} else if s.Flags&receiving == 0 && !x.held.empty() && d.buffers.crowded() {
		d.spill(x)
	}
	want := d.mayReceive(s)
	switch {
	case want && s.Flags&armed == 0 && len(d.starved) > 0:
		d.awaitBuffer(s) // behind those that already wait
	case want && s.Flags&armed == 0:
		s.Flags |= armed
		d.begin(opReceive, s.Index).SetRecv(sys.FD(x.fd), bufferGroup, d.bundles)
	case !want && s.Flags&(armed|cancelling) == armed:
		s.Flags |= cancelling
		d.cancel(opReceive, s.Index)
	}
	if s.Flags&(gone|connecting|failureReported) == 0 && d.isNotReceiving(s) {
		d.awaitFailure(s)
	}
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

// mayReceive reports whether a receive of the stream may be in flight, or be started.
func (d *Driver) mayReceive(s *driver.Stream) bool {
	return s.Flags&(receiving|ended|gone|starved) == receiving && !d.slots.At(s.Index).hasMore()
}

// awaitBuffer puts a stream in the list of those that wait for a buffer.
func (d *Driver) awaitBuffer(s *driver.Stream) {
	s.Flags |= starved
	d.starved = append(d.starved, s.Index)
}

// maxLimit is the highest limit of a receive: the kernel has 32 bits for it.
const maxLimit = 1 << 30

// receiveStarved starts receives of streams that found no buffer, as many as there are
// available buffers. Each is limited to the budget of a turn, or to one buffer if the kernel
// has no limits. A receive without a limit takes all available buffers, so a few busy streams
// would keep the others waiting.
func (d *Driver) receiveStarved() {
	n := min(d.buffers.available(), len(d.starved))
	for _, index := range d.starved[:n] {
		s := d.slots.At(index).stream
		if s == nil || s.Flags&starved == 0 {
			continue
		}
		s.Flags &^= starved
		if d.mayReceive(s) && s.Flags&armed == 0 {
			s.Flags |= armed
			q, fd := d.begin(opReceive, index), d.fdOf(s)
			if d.has.limits {
				q.SetRecvSome(fd, bufferGroup, d.bundles, min(d.budget, maxLimit))
			} else {
				q.SetRecvOnce(fd, bufferGroup)
			}
		}
	}
	d.starved = d.starved[:copy(d.starved, d.starved[n:])]
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
			d.addBusy(s)
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
		d.awaitBuffer(s)
	default:
		d.slots.At(index).end = -res
		if s.Flags&receiving != 0 {
			d.endOrAddBusy(s)
		} else if res < 0 {
			d.addBusy(s) // so that Failed reports it before Resume
		}
	}
}

// arrived handles n received bytes, in the buffer id and the ones after it.
func (d *Driver) arrived(s *driver.Stream, id uint16, n int) {
	for {
		last, bytes := d.contiguous(id, n, d.budget-d.deliveredThisTurn(d.slots.At(s.Index)))
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
	if !takes || d.deliveredThisTurn(x) >= d.budget || x.hasMore() {
		for ; n > 0; n -= d.buffers.Size {
			d.buffers.hold(&x.held, id, min(n, d.buffers.Size))
			id++
		}
		if takes {
			d.addBusy(s)
		}
		d.markChanged(s)
		return
	}
	x.delivered += int32(n)
	d.deliver(s, d.buffers.Get(id, n))
	for ; n > 0; n -= d.buffers.Size {
		d.buffers.give(id)
		id++
	}
}

func (d *Driver) deliver(s *driver.Stream, b []byte) {
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

func (d *Driver) addBusy(s *driver.Stream) {
	if s.Flags&busy == 0 {
		s.Flags |= busy
		d.busy = append(d.busy, s.Index)
	}
}

func (d *Driver) endOrAddBusy(s *driver.Stream) {
	if x := d.slots.At(s.Index); x.held.empty() && x.rare == nil {
		d.reportEnd(s)
		return
	}
	d.addBusy(s)
}

// deliverBusy serves the first n busy streams.
func (d *Driver) deliverBusy(n int) {
	if n == 0 {
		return
	}
	for _, index := range d.busy[:n] {
		if s := d.slots.At(index).stream; s != nil && s.Flags&busy != 0 {
			s.Flags &^= busy
			d.deliverHeld(s)
		}
	}
	d.busy = d.busy[:copy(d.busy, d.busy[n:])]
}

func (d *Driver) deliverHeld(s *driver.Stream) {
	d.reportFailure(s)
	for s.Flags&(receiving|draining) != 0 {
		x := d.slots.At(s.Index)
		switch {
		case d.deliveredThisTurn(x) >= d.budget:
			d.addBusy(s)
			return
		case x.rare != nil:
			b := x.rare.spilled
			n := min(len(b), d.buffers.Size)
			if x.rare.spilled = b[n:]; n == len(b) {
				x.rare = nil
			}
			x.delivered += int32(n)
			d.deliver(s, b[:n:n])
		case !x.held.empty():
			id, b := d.buffers.take(&x.held)
			x.delivered += int32(len(b))
			d.deliver(s, b)
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
	s.Flags = s.Flags&^receiving | ended
	if e == 0 {
		d.markChanged(s) // so that a later failure is noticed
		s.Up.ReceiveEnded(io.EOF)
		return
	}
	s.Flags |= failureReported
	s.Up.ReceiveEnded(receiveError(s, e))
}

func receiveError(s *driver.Stream, e syscall.Errno) error {
	return failure("read", "recv", s.PollHandle(), s.LocalNetAddr(), s.RemoteNetAddr(), e)
}
