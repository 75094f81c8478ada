package ready

import (
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
)

// Turn implements driver.Driver.
func (d *Driver) Turn(timeout time.Duration) error {
	if err := d.collect(d.submit(timeout)); err != nil {
		d.ReportReleased() // no other upcall will come
		return err
	}
	d.deliver()
	return nil
}

// submit starts the operations that were requested since the last turn, and returns how long the
// turn may wait. Here the methods that request an operation have started it: there is nothing left
// to start.
func (d *Driver) submit(timeout time.Duration) time.Duration {
	if d.HasWork() || d.Pending() > 0 {
		return 0
	}
	return timeout
}

// collect waits, for at most timeout, and takes what has happened from the kernel: here the Poll's
// events. It makes no upcalls.
func (d *Driver) collect(timeout time.Duration) (err error) {
	d.n, err = d.q.Wait(d.events[:], timeout)
	return err
}

// deliver makes the upcalls: those of what was collected, and those of earlier turns' streams,
// listeners and sockets that have more.
func (d *Driver) deliver() {
	busy, accepting, pending := d.Busy.Len(), d.Accepting.Len(), d.Pending()
	for _, ev := range d.events[:d.n] {
		kind, generation, index := driver.SplitToken(ev.Token)
		if kind != kindStream {
			d.otherEvent(kind, generation, index, ev)
		} else if s := d.streams.At(index); s != nil && s.Generation == generation {
			d.streamEvent(s, ev)
		}
	}
	for range busy {
		d.serveBusy(d.Busy.Take())
	}
	for range accepting {
		d.accept(d.Accepting.Take())
	}
	d.ReceiveMore(pending)
	d.ReportReleased()
}

// otherEvent handles an event of anything but a stream.
func (d *Driver) otherEvent(kind int, generation, index uint32, ev queue.Event) {
	switch kind {
	case kindListener:
		if l := d.listeners.At(index); l != nil && l.Generation == generation {
			d.accept(l)
		}
	case kindWatch:
		d.Watches.Event(generation, index, ev)
	case kindPacket:
		d.Packets.Event(generation, index, ev)
	}
}
