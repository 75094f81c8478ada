package ready

import (
	"errors"
	"io"
	"runtime"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

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
	readable         = driver.OwnStreamFlag << iota // the kernel may have data
	readsShort                                      // a short read may not have drained the stream: the peer has closed, sent urgent data, or may pass descriptors
	blocked                                         // a send would have blocked; Sent must follow
	writableOnDemand                                // registered for Writable only when needed
	watchingWritable                                // writableOnDemand, and registered for Writable now
	unregistered                                    // the Poll has refused to change the stream's interest
)

// Attach implements driver.Driver.
func (d *Driver) Attach(s *driver.Stream) error {
	d.streams.Add(s, &s.State)
	interest, flags := selector.Readable, uint32(attached|writableOnDemand)
	if d.writableIsFree(s) {
		interest, flags = selector.Readable|selector.Writable|selector.Priority, attached
	}
	if handle.Of(s).Kind() == handle.UnixStream {
		flags |= readsShort
	}
	err := d.q.Register(handle.Of(s), driver.Token(kindStream, s.Generation, s.Index), interest, selector.Edge)
	if err != nil {
		d.streams.Remove(&s.State)
		return err
	}
	s.Flags |= flags
	return nil
}

// writableIsFree reports whether it costs nothing to register a stream for Writable from the
// beginning, which saves two calls for each blocked send. It does not hold for Unix streams: Linux
// reports them writable whenever the peer has read something.
func (d *Driver) writableIsFree(s *driver.Stream) bool {
	return handle.Of(s).Kind() == handle.TCPStream && d.q.WritableIsFree()
}

// watchWritable changes whether the stream is registered for Writable. If the Poll refuses, which
// ends the registration, the next turn registers the stream again: AFD may be out of resources
// for a moment.
func (d *Driver) watchWritable(s *driver.Stream, on bool) {
	if s.Flags&writableOnDemand == 0 || s.Flags&unregistered != 0 || (s.Flags&watchingWritable != 0) == on {
		return
	}
	if d.reregister(s, on) != nil && s.Flags&gone == 0 {
		s.Flags |= unregistered
		d.AddBusy(s)
	}
}

func (d *Driver) reregister(s *driver.Stream, writable bool) error {
	interest := selector.Readable
	if writable {
		interest |= selector.Writable
	}
	change := d.q.Reregister
	if s.Flags&unregistered != 0 {
		change = d.q.Register
	}
	err := change(handle.Of(s), driver.Token(kindStream, s.Generation, s.Index), interest, selector.Edge)
	if err == nil {
		s.Flags &^= watchingWritable
		if writable {
			s.Flags |= watchingWritable
		}
	}
	return err
}

// registerAgain tries again to register a stream, after the Poll has refused. If the Poll refuses
// again, it would never report an event of the stream, so the stream has failed with the Poll's
// error.
func (d *Driver) registerAgain(s *driver.Stream) {
	err := d.reregister(s, s.Flags&(connecting|blocked) != 0)
	s.Flags &^= unregistered
	if err == nil {
		return
	}
	if s.Flags&connecting != 0 {
		s.ReportConnected(err)
		return
	}
	s.Flags |= readable // received data can still be read
	if s.Flags&blocked != 0 {
		s.Flags &^= blocked
		s.Up.Sent(0, err)
	}
	if s.Flags&(failureReported|gone) == 0 {
		s.ReportFailed(err)
	}
}

// Connect implements driver.Driver.
func (d *Driver) Connect(s *driver.Stream) error {
	if err := stream.Of(s).BeginConnect(); err != nil {
		return err
	}
	if err := d.Attach(s); err != nil {
		return err
	}
	s.Flags |= connecting
	d.watchWritable(s, true)
	return nil
}

// Resume implements driver.Driver.
func (d *Driver) Resume(s *driver.Stream) {
	if s.Flags&(receiving|gone) != 0 {
		return
	}
	s.Flags |= receiving
	if s.Flags&readable != 0 {
		d.AddBusy(s)
	}
}

// Pause implements driver.Driver.
func (d *Driver) Pause(s *driver.Stream) {
	s.Flags &^= receiving
	if s.Flags&(failed|gone) == failed {
		d.AddBusy(s) // no receive will report the failure
	}
}

// Send implements driver.Driver.
func (d *Driver) Send(s *driver.Stream, bufs [][]byte) (n int, err error) {
	if len(bufs) == 1 {
		n, err = s.Write(bufs[0])
	} else {
		n, err = s.Writev(bufs)
	}
	if err == sock.ErrWouldBlock {
		s.Flags |= blocked
		d.watchWritable(s, true)
		return n, nil
	}
	return n, err
}

// Release implements driver.Driver.
func (d *Driver) Release(s *driver.Stream) {
	if d.markGone(s) {
		s.Close()
	}
}

// Detach implements driver.Driver.
func (d *Driver) Detach(s *driver.Stream) {
	was := s.Flags
	if d.markGone(s) && was&attached != 0 {
		d.q.Deregister(handle.Of(s))
	}
}

func (d *Driver) markGone(s *driver.Stream) bool {
	if s.Flags&gone != 0 {
		return false
	}
	if s.Flags&attached != 0 {
		d.streams.Remove(&s.State)
	}
	s.Flags = s.Flags&busy | gone
	d.AddReleased(s)
	return true
}

// streamEvent receives before it sends: a send error would hide what the peer has sent before
// the connection failed.
func (d *Driver) streamEvent(s *driver.Stream, ev queue.Event) {
	if s.Flags&connecting != 0 {
		d.writeEvent(s, ev)
		if s.Flags&connecting != 0 {
			return
		}
	}
	if (ev.Failed() || ev.WriteClosed()) && s.Flags&gone == 0 {
		s.Flags |= failed // receiveFailed relies on it
	}
	if ev.Readable() && s.Flags&(ended|gone) == 0 {
		s.Flags |= readable
		if ev.ReadClosed() || ev.Failed() || ev.Priority() {
			s.Flags |= readsShort
		}
		if s.Flags&(receiving|busy) == receiving {
			d.receive(s)
		}
	}
	d.writeEvent(s, ev)
	d.reportFailure(s)
}

// writeEvent handles the part of an event that is about sending and connecting.
func (d *Driver) writeEvent(s *driver.Stream, ev queue.Event) {
	if ev.Writable() && s.Flags&(connecting|blocked) != 0 {
		d.writable(s, ev)
		if s.Flags&(connecting|blocked|gone) == 0 {
			d.watchWritable(s, false)
		}
	}
}

// serveBusy serves a stream that is busy.
func (d *Driver) serveBusy(s *driver.Stream) {
	if s.Flags&(unregistered|gone) == unregistered {
		d.registerAgain(s)
	}
	if s.Flags&(receiving|readable) == receiving|readable {
		d.receive(s)
	}
	d.reportFailure(s)
}

// reportFailure reports that the connection has failed, if no receive is going to: the stream is
// paused, or its end has been reported.
func (d *Driver) reportFailure(s *driver.Stream) {
	if s.Flags&(failed|failureReported|gone) != failed {
		return
	}
	if s.Flags&ended == 0 && s.Flags&(receiving|readable) == receiving|readable {
		return // it is busy
	}
	s.Flags &^= failed
	err := stream.Of(s).TakeFailure() // nil if both sides have closed without an error
	if err == nil && runtime.GOOS == "windows" {
		err = stream.Of(s).Failure(syscall.ECONNRESET) // only the event reports the failure
	}
	if err != nil {
		s.ReportFailed(err)
	}
}

func (d *Driver) writable(s *driver.Stream, ev queue.Event) {
	if s.Flags&connecting != 0 {
		err := s.ConnectError()
		if errors.Is(err, sock.ErrWouldBlock) {
			if !ev.WriteClosed() || runtime.GOOS != "windows" {
				return
			}
			// The connection was established and reset before this call. On Wine, the socket
			// then has neither a peer nor an error, and this event does not come again.
			err = stream.Of(s).RecordConnect(syscall.ECONNRESET)
		}
		s.ReportConnected(err)
		return
	}
	s.Flags &^= blocked
	s.Up.Sent(0, nil)
}

// receive delivers received data, up to the budget.
func (d *Driver) receive(s *driver.Stream) {
	for left := d.Budget; left > 0; {
		b := d.scratch[:min(len(d.scratch), left)]
		n, err := s.Read(b)
		if err != nil {
			receiveFailed(s, err)
			return
		}
		if n < len(b) && s.Flags&readsShort == 0 {
			s.Flags &^= readable
		}
		if !s.Up.Received(b[:n]) {
			s.Flags &^= receiving
		}
		if s.Flags&(receiving|readable) != receiving|readable {
			return
		}
		left -= n
	}
	d.AddBusy(s)
}

func receiveFailed(s *driver.Stream, err error) {
	s.Flags &^= readable
	if err == sock.ErrWouldBlock {
		return
	}
	if err == io.EOF && s.Flags&failed != 0 && runtime.GOOS == "windows" {
		// AFD has reported an abort, which only a reset or a failure causes. Windows returns WSAECONNRESET;
		// on Wine the server's own poll consumes the error, and the read returns 0 bytes.
		err = stream.Of(s).Failure(syscall.ECONNRESET)
	}
	s.ReportReceiveEnded(err)
}
