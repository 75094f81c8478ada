package uring

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
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
	sendTurn  uint32 // the turn before the one that submits the send in flight
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
	fd, ok := handle.Of(s).Use()
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
	inRing := handle.Of(s).Kind() == handle.TCPStream
	if !inRing {
		if err := stream.Of(s).BeginConnect(); err != nil {
			return err
		}
	}
	if err := d.Attach(s); err != nil {
		return err
	}
	if inRing {
		s.Flags |= connecting
		d.begin(opConnect, s.Index).SetConnect(d.fdOf(s), stream.Of(s).ConnectTo())
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
		err = stream.Of(s).RecordConnect(e)
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
	handle.Of(s).Done()
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
		d.receive(s)
	case !want && s.Flags&(armed|cancelling) == armed:
		s.Flags |= cancelling
		d.cancel(opReceive, s.Index)
	}
	if s.Flags&(gone|connecting|failureReported) == 0 && s.MissesFailure() {
		d.awaitFailure(s)
	}
}
