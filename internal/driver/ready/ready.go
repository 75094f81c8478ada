// Package ready is a driver over a pollux.Poll: it turns the Poll's readiness into completions,
// and runs on every system that the Poll supports.
//
// It decides neither how readiness is reported, which is the selectors' part, nor what is done with
// the bytes. Read Turn first.
package ready

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/sock"
)

// Driver is a Poll for one loop.
type Driver struct {
	q       *pollux.Poll
	reg     pollux.Registrator
	waker   *pollux.Waker
	events  [maxEvents]pollux.Event
	epoll   bool // the Poll's backend is epoll
	scratch []byte
	budget  int

	streams   driver.Table[driver.Stream]
	listeners driver.Table[driver.Listener]
	watches   driver.Table[driver.Watch]
	driver.Packets

	// Streams that may have more data than their budget, or need other work in the next turn.
	busy           driver.Line
	accepting      []*driver.Listener // those that may have more connections in their backlog
	acceptingSpare []*driver.Listener
	released       []*driver.Stream // to call Released
}

const (
	// maxEvents is how many events one turn takes from the Poll.
	maxEvents = 256
	// maxAccepts is how many connections one listener may deliver in a turn.
	maxAccepts = 64
)

// Kinds of tokens.
const (
	kindStream = iota
	kindListener
	kindWatch
	kindPacket
	kindWaker
)

// Flags of a stream.
const (
	receiving        = 1 << iota // between Resume and Pause
	readable                     // the kernel may have data
	readsShort                   // a short read may not have drained the stream: the peer has closed, sent urgent data, or may pass descriptors
	busy                         // in the busy line
	blocked                      // a send would have blocked; Sent must follow
	connecting                   // Connected must follow
	ended                        // ReceiveEnded was called
	gone                         // released or detached
	attached                     // in streams
	writableOnDemand             // registered for Writable only when needed
	watchingWritable             // writableOnDemand, and registered for Writable now
	failed                       // an event has reported a failure that Failed has not
	failureReported              // by Failed or ReceiveEnded
	unregistered                 // the Poll has refused to change the stream's interest
)

// Flags of a listener.
const (
	paused = 1 << iota
	queued // in accepting
	listed // in listeners
)

// Open returns a driver over a new Poll.
func Open(c driver.Config, options ...pollux.Option) (*Driver, error) {
	if c.BusyPoll != 0 {
		options = append(options, pollux.BusyPoll(max(c.BusyPoll, 0)))
	}
	q, err := pollux.New(options...)
	if err != nil {
		return nil, err
	}
	return OpenOn(q, c)
}

// OpenOn returns a driver over q. The driver closes it.
func OpenOn(q *pollux.Poll, c driver.Config) (*Driver, error) {
	waker, err := q.NewWaker(driver.Token(kindWaker, 0, 0))
	if err != nil {
		q.Close()
		return nil, err
	}
	return &Driver{
		q: q, reg: q.Registrator(), waker: waker, epoll: q.Backend() == "epoll",
		scratch: make([]byte, c.ScratchBytes), budget: c.BudgetBytes,
		busy:    driver.Line{Mark: busy},
		Packets: driver.MakePackets(q.Registrator(), kindPacket),
	}, nil
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return d.q.Backend() }

// SyncSend implements driver.Driver.
func (d *Driver) SyncSend() bool { return true }

// Wake implements driver.Driver.
func (d *Driver) Wake() error { return d.waker.Wake() }

// Spin implements driver.Driver.
func (d *Driver) Spin() pollux.SpinStats { return d.q.Spin() }

// Close implements driver.Driver.
func (d *Driver) Close() error { return d.q.Close() }

// Attach implements driver.Driver.
func (d *Driver) Attach(s *driver.Stream) error {
	d.streams.Add(s, &s.State)
	interest, flags := pollux.Readable, uint32(attached|writableOnDemand)
	if d.reportsWritableOnce(s) {
		interest, flags = pollux.Readable|pollux.Writable|pollux.Priority, attached
	}
	if s.PollHandle().Kind() == handle.UnixStream {
		flags |= readsShort
	}
	err := d.reg.Register(s, driver.Token(kindStream, s.Generation, s.Index), interest, pollux.Edge)
	if err != nil {
		d.streams.Remove(&s.State)
		return err
	}
	s.Flags |= flags
	return nil
}

// reportsWritableOnce reports whether the kernel reports that a stream is writable only after a
// send would have blocked. Linux does so for TCP (SOCK_NOSPACE): registering for Writable from
// the beginning then costs nothing, and saves two calls for each blocked send. But Linux
// reports a Unix stream writable whenever the peer has read something, and kqueue a TCP stream
// whenever acknowledgements arrive.
func (d *Driver) reportsWritableOnce(s *driver.Stream) bool {
	return d.epoll && s.PollHandle().Kind() == handle.TCPStream
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
		d.busy.Put(s)
	}
}

func (d *Driver) reregister(s *driver.Stream, room bool) error {
	interest := pollux.Readable
	if room {
		interest |= pollux.Writable
	}
	change := d.reg.Reregister
	if s.Flags&unregistered != 0 {
		change = d.reg.Register
	}
	err := change(s, driver.Token(kindStream, s.Generation, s.Index), interest, pollux.Edge)
	if err == nil {
		s.Flags &^= watchingWritable
		if room {
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
		s.Flags &^= connecting
		s.Up.Connected(err)
		return
	}
	s.Flags |= readable // received data can still be read
	if s.Flags&blocked != 0 {
		s.Flags &^= blocked
		s.Up.Sent(0, err)
	}
	if s.Flags&(failureReported|gone) == 0 {
		s.Flags |= failureReported
		s.Up.Failed(err)
	}
}

// Connect implements driver.Driver.
func (d *Driver) Connect(s *driver.Stream) error {
	if err := s.BeginConnect(); err != nil {
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
		d.busy.Put(s)
	}
}

// Pause implements driver.Driver.
func (d *Driver) Pause(s *driver.Stream) {
	s.Flags &^= receiving
	if s.Flags&(failed|gone) == failed {
		d.busy.Put(s) // no receive will report the failure
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
		d.reg.Deregister(s)
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
	d.released = append(d.released, s)
	return true
}

// Turn implements driver.Driver.
func (d *Driver) Turn(timeout time.Duration) error {
	if d.busy.Len() > 0 || len(d.accepting) > 0 || d.Pending() > 0 || len(d.released) > 0 {
		timeout = 0
	}
	n, err := d.q.Wait(d.events[:], timeout)
	if err != nil {
		d.reportReleased() // no other upcall will come
		return err
	}
	waiting, accepting, pending := d.busy.Len(), d.accepting, d.Pending()
	d.accepting, d.acceptingSpare = d.acceptingSpare[:0], accepting
	for _, ev := range d.events[:n] {
		kind, generation, index := driver.SplitToken(ev.Token())
		if kind != kindStream {
			d.otherEvent(kind, generation, index, ev)
		} else if s := d.streams.At(index); s != nil && s.Generation == generation {
			d.streamEvent(s, ev)
		}
	}
	for range waiting {
		d.serveBusy(d.busy.Take())
	}
	for i, l := range accepting {
		accepting[i] = nil
		l.Flags &^= queued
		d.accept(l)
	}
	d.ReceiveMore(pending)
	d.reportReleased()
	return nil
}

// reportReleased calls Released. Streams that its upcalls release are left to the next turn.
func (d *Driver) reportReleased() {
	n := len(d.released)
	for i := range n {
		if s := d.released[i]; s != nil { // nil: reported, and then the upcall ended the goroutine (runtime.Goexit)
			d.released[i] = nil
			s.Up.Released()
		}
	}
	d.released = slices.Delete(d.released, 0, n)
}

// otherEvent handles an event of anything but a stream.
func (d *Driver) otherEvent(kind int, generation, index uint32, ev pollux.Event) {
	switch kind {
	case kindListener:
		if l := d.listeners.At(index); l != nil && l.Generation == generation {
			d.accept(l)
		}
	case kindWatch:
		if w := d.watches.At(index); w != nil && w.Generation == generation {
			w.Up.Ready(ev)
		}
	case kindPacket:
		d.Packets.Event(generation, index, ev)
	}
}

// streamEvent receives before it sends: a send error would hide what the peer has sent before
// the connection failed.
func (d *Driver) streamEvent(s *driver.Stream, ev pollux.Event) {
	if s.Flags&connecting != 0 {
		d.writeEvent(s, ev)
		if s.Flags&connecting != 0 {
			return
		}
	}
	if ev.Readable() && s.Flags&(ended|gone) == 0 {
		s.Flags |= readable
		if ev.ReadClosed() || ev.Error() || ev.Priority() {
			s.Flags |= readsShort
		}
		if s.Flags&(receiving|busy) == receiving {
			d.receive(s)
		}
	}
	d.writeEvent(s, ev)
	if (ev.Error() || ev.WriteClosed()) && s.Flags&gone == 0 {
		s.Flags |= failed
		d.reportFailure(s)
	}
}

// writeEvent handles the part of an event that is about sending and connecting.
func (d *Driver) writeEvent(s *driver.Stream, ev pollux.Event) {
	if ev.Writable() && s.Flags&(connecting|blocked) != 0 {
		d.writable(s, ev)
		if s.Flags&(connecting|blocked|gone) == 0 {
			d.watchWritable(s, false)
		}
	}
}

// serveBusy serves a stream from the busy line.
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
		return // it is in the busy line
	}
	s.Flags &^= failed
	err := s.TakeFailure() // nil if both sides have closed without an error
	if err == nil && runtime.GOOS == "windows" {
		err = s.Failure(syscall.ECONNRESET) // only the event reports the failure
	}
	if err != nil {
		s.Flags |= failureReported
		s.Up.Failed(err)
	}
}

func (d *Driver) writable(s *driver.Stream, ev pollux.Event) {
	if s.Flags&connecting != 0 {
		err := s.ConnectError()
		if errors.Is(err, sock.ErrWouldBlock) {
			if !ev.WriteClosed() || runtime.GOOS != "windows" {
				return
			}
			// The connection was established and reset before this call. On Wine, the socket
			// then has neither a peer nor an error, and this event does not come again.
			err = s.ConnectEnded(syscall.ECONNRESET)
		}
		s.Flags &^= connecting
		if err != nil {
			s.Flags |= failureReported
		}
		s.Up.Connected(err)
		return
	}
	s.Flags &^= blocked
	s.Up.Sent(0, nil)
}

// receive delivers received data, up to the budget.
func (d *Driver) receive(s *driver.Stream) {
	for left := d.budget; left > 0; {
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
	d.busy.Put(s)
}

func receiveFailed(s *driver.Stream, err error) {
	s.Flags &^= readable
	if err == sock.ErrWouldBlock {
		return
	}
	s.Flags = s.Flags&^receiving | ended
	if err != io.EOF {
		s.Flags |= failureReported
	}
	s.Up.ReceiveEnded(err)
}
