package overlapped

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
)

// Kinds of tokens.
const (
	kindConnect = iota
	kindListener
	kindWatch
	kindPacket
	kindFailure
)

// Watch implements driver.Driver.
func (d *Driver) Watch(w *driver.Watch) error {
	d.watches.Add(w, &w.State)
	err := d.q.Register(handle.Of(w.Source), driver.Token(kindWatch, w.Generation, w.Index), selector.Readable|selector.Writable|selector.Priority, selector.Edge)
	if err != nil {
		d.watches.Remove(&w.State)
	}
	return err
}

// Unwatch implements driver.Driver.
func (d *Driver) Unwatch(w *driver.Watch) {
	d.watches.Remove(&w.State)
	d.q.Deregister(handle.Of(w.Source)) // fails for a closed source, whose registration has ended
}

// collectWatches collects the selector's events, and makes their upcalls.
func (d *Driver) collectWatches() error {
	if !d.sel.HasCompletions() {
		return nil
	}
	n, err := d.q.Wait(d.events[:], 0)
	if err != nil {
		return err
	}
	for _, ev := range d.events[:n] {
		kind, generation, index := driver.SplitToken(ev.Token)
		switch kind {
		case kindWatch:
			if w := d.watches.At(index); w != nil && w.Generation == generation {
				w.Up.Ready(ev.Flags)
			}
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
				d.markChanged(a)
			}
		case kindPacket:
			d.Packets.Event(generation, index, ev)
		}
	}
	return nil
}
