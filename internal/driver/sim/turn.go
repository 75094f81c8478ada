package sim

import (
	"errors"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
)

var errNetworkClosed = errors.New("the simulated network is closed; close the groups on it before")

// Turn implements driver.Driver.
func (d *Driver) Turn(timeout time.Duration) error {
	if err := d.collect(d.submit(timeout)); err != nil {
		for range d.releasing.Len() {
			s := d.releasing.Take()
			d.disown(s)
			d.AddReleased(s)
		}
		d.ReportReleased() // no other upcall will come
		return err
	}
	if d.before != nil {
		d.before()
	}
	d.deliver()
	return nil
}

// submit starts what was requested since the last turn and was not started immediately, and returns how
// long the turn may wait.
func (d *Driver) submit(timeout time.Duration) time.Duration {
	for range d.requested.Len() {
		d.begin(d.requested.Take())
	}
	if d.out != nil {
		d.sendDue()
	}
	if d.HasWork() || d.Pending() > 0 || d.hasDue() || d.requested.Len() > 0 || d.releasing.Len() > 0 || len(d.delayed) > 0 || d.sockets.pending() {
		return 0
	}
	return d.dice.early(timeout, d.adversity.EarlyTurns)
}

// collect waits, for at most timeout, and takes the events. It also receives and accepts ahead of what
// deliver delivers.
func (d *Driver) collect(timeout time.Duration) error {
	if !d.loop.Wait(timeout) {
		return errNetworkClosed
	}
	d.n = copy(d.events[:], d.delayed)
	d.delayed = d.delayed[:0]
	if d.n < len(d.events) {
		k, err := d.q.Wait(d.events[d.n:], 0)
		if err != nil {
			return err
		}
		d.delaySome(k)
	}
	if d.adversity.LateBytes > 0 || d.adversity.HeldAccepts > 0 {
		for _, ev := range d.events[:d.n] {
			d.takeAhead(ev)
		}
	}
	return nil
}

// delaySome leaves some of the k events behind the first n to the next turn, which delivers them.
func (d *Driver) delaySome(k int) {
	for _, ev := range d.events[d.n : d.n+k] {
		if d.dice.decide(d.adversity.Delays) {
			d.delayed = append(d.delayed, ev)
			continue
		}
		d.events[d.n] = ev
		d.n++
	}
}

// deliver makes the upcalls: those of what was collected, and those of earlier turns' streams,
// listeners and sockets that have more.
func (d *Driver) deliver() {
	busy, accepting, pending := d.Busy.Len(), d.Accepting.Len(), d.Pending()
	events := d.events[:d.n]
	if d.adversity.Shuffle {
		d.dice.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	for _, ev := range events {
		d.event(ev)
	}
	for range busy {
		d.serveBusy(d.Busy.Take())
	}
	for range accepting {
		d.serveAccepting(d.Accepting.Take())
	}
	d.ReceiveMore(pending)
	if d.out != nil {
		d.reportSends()
	}
	for range d.releasing.Len() {
		d.finishOrDelay(d.releasing.Take())
	}
	d.ReportReleased()
}

func (d *Driver) event(ev queue.Event) {
	kind, generation, index := driver.SplitToken(ev.Token)
	switch kind {
	case kindStream:
		if s := d.streams.At(index); s != nil && s.Generation == generation {
			d.streamEvent(s, ev)
		}
	case kindListener:
		if a := d.listeners.At(index); a != nil && a.l.Generation == generation {
			d.accept(a)
		}
	case kindWatch:
		d.Watches.Event(generation, index, ev)
	case kindPacket:
		d.Packets.Event(generation, index, ev)
	}
}

// takeAhead receives or accepts what the event reports, before any of it is delivered.
func (d *Driver) takeAhead(ev queue.Event) {
	kind, generation, index := driver.SplitToken(ev.Token)
	switch kind {
	case kindStream:
		if s := d.streams.At(index); ev.Readable() && s != nil && s.Generation == generation {
			d.receiveAhead(s)
		}
	case kindListener:
		if a := d.listeners.At(index); a != nil && a.l.Generation == generation {
			d.acceptAhead(a)
		}
	}
}
