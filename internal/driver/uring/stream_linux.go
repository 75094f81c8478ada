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

// Flags of a stream: those that every driver has, and this driver's own.
const (
	receiving       = driver.Receiving
	connecting      = driver.Connecting
	ended           = driver.Ended
	gone            = driver.Gone
	attached        = driver.Attached
	failed          = driver.Failed
	failureReported = driver.FailureReported
)

const (
	armed            = driver.OwnStreamFlag << iota // a receive is in flight
	cancelling                                      // its cancellation is in flight, or about to be
	sending                                         // a send is in flight; Sent must follow
	awaiting                                        // connecting by a poll; ConnectError returns the result
	changed                                         // in Driver.changed
	starved                                         // in Driver.starved
	draining                                        // detached; what is held is delivered before Released
	awaitingWritable                                // in the epoll set until it is writable
	delivering                                      // the data of a completion is being delivered
	inSet                                           // in the epoll set

	operating = armed | sending | connecting | delivering
)

// Attach implements driver.Driver.
func (d *Driver) Attach(s *driver.Stream) error {
	fd, ok := s.PollHandle().Use()
	if !ok {
		return fmt.Errorf("uring: attaching a stream: %w", pollux.ErrSourceClosed)
	}
	s.Index = d.slots.Add(slot{stream: s, fd: int32(fd), held: noQueue, end: noEnd})
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
		if err := s.BeginConnect(); err != nil {
			return err
		}
	}
	if err := d.Attach(s); err != nil {
		return err
	}
	if inRing {
		s.Flags |= connecting
		d.begin(opConnect, s.Index).SetConnect(d.fdOf(s), s.ConnectTo())
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
		d.AddBusy(s)
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
		err = s.ConnectEnded(e)
	}
	if errors.Is(err, sock.ErrWouldBlock) {
		d.awaitConnect(s)
		return
	}
	d.markChanged(s)
	s.ReportConnected(err)
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
		d.AddReleased(s)
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
		d.AddBusy(s)
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
	s.Flags &^= draining | attached
	s.PollHandle().Done()
	d.slots.Remove(s.Index)
	d.AddReleased(s)
	return true
}

// markChanged has the next turn apply the stream's changes.
func (d *Driver) markChanged(s *driver.Stream) { d.changed.Put(s, &s.State) }

// applyChanges starts and cancels operations as requested since the last turn. Streams that
// wait for buffers come first.
func (d *Driver) applyChanges() {
	d.receiveStarved()
	for range d.changed.Len() {
		if s := d.changed.Take(); s.Flags&attached != 0 {
			d.apply(s)
		}
	}
	d.applyAccepting()
	d.moveQueuedSQEs()
}

func (d *Driver) apply(s *driver.Stream) {
	x := d.slots.At(s.Index)
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
	case want && s.Flags&armed == 0 && d.starved.Len() > 0:
		d.starved.Put(s, &s.State) // behind those that already wait
	case want && s.Flags&armed == 0:
		s.Flags |= armed
		d.begin(opReceive, s.Index).SetRecv(sys.FD(x.fd), bufferGroup, d.bundles)
	case !want && s.Flags&(armed|cancelling) == armed:
		s.Flags |= cancelling
		d.cancel(opReceive, s.Index)
	}
	if s.Flags&(gone|connecting|failureReported) == 0 && s.MissesFailure() {
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

// maxLimit is the highest limit of a receive: the kernel has 32 bits for it.
const maxLimit = 1 << 30

// receiveStarved starts receives of streams that found no buffer, as many as there are
// available buffers. Each is limited to the budget of a turn, or to one buffer if the kernel
// has no limits. A receive without a limit takes all available buffers, so a few busy streams
// would keep the others waiting.
func (d *Driver) receiveStarved() {
	for range min(d.buffers.available(), d.starved.Len()) {
		s := d.starved.Take()
		if s.Flags&(attached|armed) != attached || !d.mayReceive(s) {
			continue
		}
		s.Flags |= armed
		q, fd := d.begin(opReceive, s.Index), d.fdOf(s)
		if d.has.limits {
			q.SetRecvSome(fd, bufferGroup, d.bundles, min(d.Budget, maxLimit))
		} else {
			q.SetRecvOnce(fd, bufferGroup)
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

// deliverHeld delivers and reports what a busy stream has, up to its budget.
func (d *Driver) deliverHeld(s *driver.Stream) {
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
	return failure("read", "recv", s.PollHandle(), s.LocalNetAddr(), s.RemoteNetAddr(), e)
}
