package sim

import (
	"errors"
	"fmt"
	"io"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// flow is the driver's state of an attached stream. The driver counts as a user of the descriptor
// (handle.Handle.Use) as long, so Close takes effect when the driver no longer uses the socket.
type flow struct {
	socket *simnet.Socket

	unsent [][]byte // of a Send that is in flight
	sent   int      // what a completed Send has taken
	err    error    // what a completed Send or an asynchronous Connect has failed with

	memory []byte // that ahead is in
	ahead  []byte // received, and not delivered yet
	end    error  // what the receive behind ahead has returned; nil: nothing
}

// Flags of a stream: those that every driver has, and this driver's own.
const (
	receiving       = driver.Receiving
	connecting      = driver.Connecting
	ended           = driver.Ended
	gone            = driver.Gone
	attached        = driver.Attached
	busy            = driver.Busy
	failed          = driver.Failed
	failureReported = driver.FailureReported
)

const (
	readable  = driver.OwnStreamFlag << iota // the socket may have data
	blocked                                  // a send, or its attempt, would have blocked
	requested                                // in Driver.requested
	releasing                                // in Driver.releasing
	toConnect                                // connecting is to begin
	sending                                  // an asynchronous Send is in flight
	completed                                // what requested began has completed; Sent or Connected must follow
	keeping                                  // what is ahead is delivered after Resume
	draining                                 // detached; what is ahead is delivered before Released
	delayed                                  // was left to this turn

	queues = busy | requested | releasing
)

// flow returns the flow of an attached stream.
func (d *Driver) flow(s *driver.Stream) *flow { return d.flows.At(s.Index) }

// Attach implements driver.Driver.
func (d *Driver) Attach(s *driver.Stream) error {
	if err := d.own(s); err != nil {
		return err
	}
	if err := d.register(s); err != nil {
		d.disown(s)
		return err
	}
	return nil
}

// own gives the stream a flow, and an index in both tables.
func (d *Driver) own(s *driver.Stream) error {
	fd, ok := handle.Of(s).Use()
	if !ok {
		return fmt.Errorf("sim: attaching a stream: %w", pollux.ErrSourceClosed)
	}
	socket, ok := simnet.SocketOf(sys.Virtual(fd))
	if !ok {
		handle.Of(s).Done()
		return fmt.Errorf("sim: attaching a stream: %w (it is not on a simulated network)", pollux.ErrNotPollable)
	}
	d.streams.Add(s, &s.State)
	for d.flows.Len() <= s.Index {
		d.flows.Append(flow{})
	}
	d.flow(s).socket = socket
	s.Flags |= attached
	return nil
}

// disown undoes own.
func (d *Driver) disown(s *driver.Stream) {
	*d.flow(s) = flow{}
	d.streams.Remove(&s.State)
	s.Flags &^= attached
	handle.Of(s).Done()
}

func (d *Driver) register(s *driver.Stream) error {
	const interest = selector.Readable | selector.Writable
	return d.q.Register(handle.Of(s), driver.Token(kindStream, s.Generation, s.Index), interest, selector.Edge)
}

// Connect implements driver.Driver.
func (d *Driver) Connect(s *driver.Stream) error {
	if d.adversity.AsyncConnect {
		if err := d.own(s); err != nil {
			return err
		}
		s.Flags |= connecting | toConnect
		d.request(s)
		return nil
	}
	if err := stream.Of(s).BeginConnect(); err != nil {
		return err
	}
	if err := d.Attach(s); err != nil {
		return err
	}
	s.Flags |= connecting
	return nil
}

// request has the next turn begin an operation of the stream.
func (d *Driver) request(s *driver.Stream) { d.requested.Put(s, &s.State) }

// begin begins the operation that was requested, or leaves it to the next turn.
func (d *Driver) begin(s *driver.Stream) {
	switch {
	case s.Flags&gone != 0:
	case d.delays(s):
		d.request(s)
	case s.Flags&toConnect != 0:
		s.Flags &^= toConnect
		err := stream.Of(s).BeginConnect()
		if err == nil {
			err = d.register(s)
		}
		if err != nil {
			d.complete(s, 0, err)
		}
	case s.Flags&sending != 0:
		d.attempt(s)
	}
}

// delays decides whether the stream is left to the next turn, which does not decide so again: otherwise
// others would have more than their budget meanwhile.
func (d *Driver) delays(s *driver.Stream) bool {
	if s.Flags&delayed != 0 || !d.dice.decide(d.adversity.Delays) {
		s.Flags &^= delayed
		return false
	}
	s.Flags |= delayed
	return true
}

// complete has deliver report the result of what begin began.
func (d *Driver) complete(s *driver.Stream, n int, err error) {
	x := d.flow(s)
	x.sent, x.err = n, err
	s.Flags |= completed
	d.AddBusy(s)
}

// reportCompleted reports the result of what begin began.
func (d *Driver) reportCompleted(s *driver.Stream) {
	x := d.flow(s)
	n, err := x.sent, x.err
	x.err = nil
	s.Flags &^= completed
	if s.Flags&connecting != 0 {
		s.ReportConnected(err)
	} else {
		s.Up.Sent(n, err)
	}
}

// streamEvent receives before it sends: a send error would hide what the peer has sent before
// the connection failed.
func (d *Driver) streamEvent(s *driver.Stream, ev queue.Event) {
	if ev.Readable() && s.Flags&ended == 0 {
		s.Flags |= readable // also while connecting: the event that ends that may be delayed
	}
	if s.Flags&connecting != 0 {
		d.writeEvent(s, ev)
	}
	if s.Flags&(connecting|gone) != 0 {
		return
	}
	if ev.Readable() && s.Flags&(receiving|busy|ended) == receiving {
		d.receive(s)
	}
	d.writeEvent(s, ev)
	if s.Flags&gone != 0 {
		return
	}
	if ev.Failed() {
		s.Flags |= failed
	}
	d.reportFailure(s) // also of an earlier event, if this one was the end of the stream
}

// writeEvent handles the part of an event that is about sending and connecting.
func (d *Driver) writeEvent(s *driver.Stream, ev queue.Event) {
	switch {
	case !ev.Writable():
	case s.Flags&(connecting|completed) == connecting:
		if err := s.ConnectError(); !errors.Is(err, sock.ErrWouldBlock) {
			s.ReportConnected(err)
		}
	case s.Flags&blocked != 0:
		s.Flags &^= blocked
		if s.Flags&sending != 0 {
			d.request(s)
		} else {
			s.Up.Sent(0, nil)
		}
	}
}

// serveBusy serves a stream that is busy, or leaves it to the next turn.
func (d *Driver) serveBusy(s *driver.Stream) {
	switch {
	case s.Flags&attached == 0:
		return
	case d.delays(s):
		d.AddBusy(s)
		return
	case s.Flags&draining != 0:
		d.drain(s)
		return
	}
	if s.Flags&(completed|gone) == completed {
		d.reportCompleted(s)
	}
	if s.Flags&(gone|connecting) != 0 {
		return
	}
	if s.Flags&receiving == 0 {
		d.receiveLate(s)
	} else if d.hasMore(s) {
		d.receive(s)
	}
	if s.Flags&gone == 0 {
		d.reportFailure(s)
	}
}

// reportFailure reports that the connection has failed, if no receive is going to: the stream is
// paused, or its end has been reported.
func (d *Driver) reportFailure(s *driver.Stream) {
	if s.Flags&(failureReported|gone) != 0 || !s.MissesFailure() {
		return
	}
	if end := d.flow(s).end; end != nil && end != io.EOF {
		s.ReportFailed(end) // it is reported by ReceiveEnded after Resume, too
		return
	}
	if s.Flags&failed == 0 {
		return
	}
	s.Flags &^= failed
	if err := stream.Of(s).TakeFailure(); err != nil {
		s.ReportFailed(err)
	}
}

// Release implements driver.Driver.
func (d *Driver) Release(s *driver.Stream) {
	if s.Flags&gone == 0 {
		s.Close()
		d.leave(s)
	}
}

// Detach implements driver.Driver.
func (d *Driver) Detach(s *driver.Stream) {
	if s.Flags&gone != 0 {
		return
	}
	if s.Flags&attached != 0 {
		d.q.Deregister(handle.Of(s)) // fails for one that has not begun to connect
		s.Flags |= draining
	}
	d.leave(s)
}

// leave ends the operations of a stream, except that its asynchronous Send may go on until it is
// released, and that Sent reports what that has taken.
func (d *Driver) leave(s *driver.Stream) {
	if s.Flags&connecting != 0 {
		s.Flags &^= completed
	}
	s.Flags = s.Flags&(queues|attached|draining|sending|completed) | gone
	if s.Flags&attached == 0 {
		d.AddReleased(s)
		return
	}
	x := d.flow(s)
	if s.Flags&draining != 0 {
		s.Flags &^= sending
		if x.end == io.EOF {
			x.end = nil // the system reports it again
		}
		if len(x.ahead) > 0 || x.end != nil {
			d.AddBusy(s)
			return
		}
		s.Flags &^= draining
	}
	if s.Flags&(sending|completed) != 0 {
		d.releasing.Put(s, &s.State) // Sent must not come from inside Release
		return
	}
	d.finishOrDelay(s)
}

// finishOrDelay ends the driver's use of a stream that is gone, or leaves that to a later turn.
func (d *Driver) finishOrDelay(s *driver.Stream) {
	if d.dice.decide(d.adversity.DelayedReleases) {
		d.releasing.Put(s, &s.State)
		return
	}
	if s.Flags&sending != 0 {
		d.sendLast(s)
	}
	sent := 0
	if s.Flags&completed != 0 {
		s.Flags &^= completed
		sent = d.flow(s).sent
	}
	d.disown(s)
	d.AddReleased(s)
	if sent > 0 {
		s.Up.Sent(sent, nil) // last: the upcall may end the goroutine (runtime.Goexit)
	}
}
