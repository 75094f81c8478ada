package overlapped

import (
	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
)

// A token is a kind, a generation and an index: events of one batch may be about what
// an earlier one of the batch has ended, and its index given away.
const (
	kindConnect = iota
	kindListener
	kindWatch
	kindPacket
)

func token(kind int, generation, index uint32) pollux.Token {
	return pollux.Token(uint64(kind)<<62 | uint64(generation)<<32 | uint64(index))
}

func split(t pollux.Token) (kind int, generation, index uint32) {
	return int(t >> 62), uint32(t>>32) & maxGeneration, uint32(t)
}

const maxGeneration = 1<<30 - 1

// Watch implements driver.Driver.
func (d *Driver) Watch(w *driver.Watch) error {
	d.epoch = (d.epoch + 1) & maxGeneration
	w.Generation = d.epoch
	if n := len(d.spareW); n > 0 {
		w.Index = d.spareW[n-1]
		d.spareW = d.spareW[:n-1]
		d.watches[w.Index] = w
	} else {
		w.Index = uint32(len(d.watches))
		d.watches = append(d.watches, w)
	}
	err := d.reg.Register(w.Source, token(kindWatch, w.Generation, w.Index), pollux.Readable|pollux.Writable|pollux.Priority, pollux.Edge)
	if err != nil {
		d.forgetWatch(w)
	}
	return err
}

// Unwatch implements driver.Driver.
func (d *Driver) Unwatch(w *driver.Watch) {
	d.forgetWatch(w)
	d.reg.Deregister(w.Source) // fails if it is closed, which ends it as well
}

func (d *Driver) forgetWatch(w *driver.Watch) {
	d.watches[w.Index] = nil
	d.spareW = append(d.spareW, w.Index)
}

// tellWatches makes the upcalls of what the selector has found.
func (d *Driver) tellWatches() error {
	if !d.sel.Landed() {
		return nil
	}
	n, err := d.q.Wait(d.events[:], 0)
	if err != nil {
		return err
	}
	for _, ev := range d.events[:n] {
		kind, generation, index := split(ev.Token())
		switch kind {
		case kindWatch:
			if w := d.watches[index]; w != nil && w.Generation == generation {
				w.Up.Ready(ev)
			}
		case kindConnect:
			c := d.conns[index]
			if c.s != nil && c.s.Generation == generation && c.s.Flags&(connecting|gone) == connecting {
				d.mayBeConnected(c, ev)
			}
		case kindListener:
			if a := d.listeners[index]; a != nil && a.l.Generation == generation {
				a.ready = true
				d.mark(a)
			}
		case kindPacket:
			d.Packets.Event(generation, index, ev)
		}
	}
	return nil
}
