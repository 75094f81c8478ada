package overlapped

import (
	"net"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Turn implements driver.Driver.
func (d *Driver) Turn(timeout time.Duration) error {
	d.turns++
	if err := d.collect(d.submit(timeout)); err != nil {
		d.deliverEnded()
		d.deliverReleased() // no other upcall will come, except for operations in flight
		return err
	}
	d.deliver()
	return nil
}

// submit starts and cancels the operations that were requested since the last turn, and returns how
// long the turn may wait.
func (d *Driver) submit(timeout time.Duration) time.Duration {
	for range d.Busy.Len() {
		d.startEarly(d.Busy.Take())
	}
	d.submitAccepts()
	timeout = minTimeout(timeout, d.cancelIdleReceives())
	timeout = minTimeout(timeout, d.sel.BeforeSleep())
	if d.HasWork() || len(d.ended) > 0 || d.Pending() > 0 || d.sel.HasCompletions() {
		return 0
	}
	return timeout
}

// collect waits, for at most timeout, and takes what has happened from the kernel: completions from
// the port, and with them the Poll's events. It makes no upcalls.
func (d *Driver) collect(timeout time.Duration) (err error) {
	d.n = 0
	if err = d.wait(timeout); err == nil && d.sel.HasCompletions() {
		d.n, err = d.q.Wait(d.events[:], 0)
	}
	return err
}

// deliver makes the upcalls: those of what was collected, and those of earlier turns' streams,
// listeners and sockets that have more.
func (d *Driver) deliver() {
	busy, pending := d.Busy.Len(), d.Pending()
	d.deliverEnded()
	for range d.Accepting.Len() {
		d.serveAccepting(d.Accepting.Take())
	}
	for _, ev := range d.events[:d.n] {
		d.deliverEvent(ev)
	}
	d.ReceiveMore(pending)
	for range busy {
		d.serveBusy(d.Busy.Take())
	}
	d.deliverReleased()
}

// minTimeout returns the shorter of two timeouts; a negative one is infinite.
func minTimeout(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// wait takes completions from the port, and sleeps there if there are none.
func (d *Driver) wait(timeout time.Duration) error {
	if timeout == 0 {
		_, err := d.takeCompletions(0)
		return err
	}
	var w selector.Deadline
	w.SetTimeout(timeout)
	if idle := d.spins.Begin(true); idle.Spins() {
		now := time.Now()
		for end := w.Earlier(idle.Until()); now.Before(end); now = time.Now() {
			if n, err := d.takeCompletions(0); n > 0 || err != nil {
				idle.Hit(now)
				return err
			}
		}
		idle.Expire(now)
	}
	_, err := d.takeCompletions(w.Left())
	return err
}

// take takes completions for the selector.
func (d *Driver) take(timeout time.Duration) error {
	_, err := d.takeCompletions(timeout)
	return err
}

// takeCompletions takes completions from the port: it appends the driver's ops to ended, at
// most one completion for each op in flight, and passes the selector its own.
func (d *Driver) takeCompletions(timeout time.Duration) (int, error) {
	port, ok := d.port.Use()
	if !ok {
		return 0, net.ErrClosed
	}
	defer d.port.Done()
	n, e := sys.WaitPort(port, d.entries[:], timeout)
	if e != 0 {
		return 0, sys.CallError("GetQueuedCompletionStatusEx", e)
	}
	for i := range d.entries[:n] {
		switch entry := &d.entries[i]; entry.Key {
		case wakeKey:
			d.woken.Store(false)
		case pollKey:
			d.sel.AddCompletion(entry.Overlapped)
		case opKey:
			if o := d.memory.find(entry.Overlapped); o != nil {
				o.state = completed
				d.inFlight--
				d.ended = append(d.ended, o)
			}
		}
	}
	return n, nil
}

// deliverEnded makes the upcalls of operations that have ended.
func (d *Driver) deliverEnded() {
	n := min(len(d.ended), maxBatch)
	for i := range n {
		o := d.ended[i]
		if o.state != completed {
			continue // reported, and then the upcall ended the goroutine (runtime.Goexit)
		}
		o.state = idle
		switch o.kind {
		case receiveOp:
			d.receiveEnded(o.conn)
		case sendOp:
			d.sendEnded(o.conn)
		case acceptOp:
			d.acceptEnded(o)
		case connectOp:
			d.connectEnded(o.conn)
		}
	}
	// The upcalls may have taken further completions from the port, which were appended.
	rest := copy(d.ended, d.ended[n:])
	clear(d.ended[rest:])
	d.ended = d.ended[:rest]
}

// deliverReleased frees the conns that have finished, and calls Released.
func (d *Driver) deliverReleased() {
	for _, c := range d.finished {
		d.freeConn(c)
	}
	clear(d.finished)
	d.finished = d.finished[:0]
	d.ReportReleased()
}

// deliverEvent makes the upcalls of one event of the Poll.
func (d *Driver) deliverEvent(ev queue.Event) {
	kind, generation, index := driver.SplitToken(ev.Token)
	switch kind {
	case kindWatch:
		d.Watches.Event(generation, index, ev)
	case kindConnect:
		c := d.conns.At(index)
		if c != nil && c.s.Generation == generation && c.s.Flags&(connecting|gone) == connecting {
			d.connectEvent(c, ev)
		}
	case kindFailure:
		if c := d.conns.At(index); c != nil && c.s.Generation == generation && c.s.Flags&gone == 0 {
			d.failureEvent(c, ev)
		}
	case kindListener:
		if a := d.listeners.At(index); a != nil && a.l.Generation == generation {
			a.ready = true
			d.AddAccepting(a.l)
		}
	case kindPacket:
		d.Packets.Event(generation, index, ev)
	}
}
