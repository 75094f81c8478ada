package driver

import (
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
)

// Watches implements the watched sources of a driver that has a Poll. A driver embeds it, and
// passes it the events whose tokens have its kind.
type Watches struct {
	q     *queue.Poll
	kind  int // of its tokens
	table Table[Watch]
}

// MakeWatches returns a Watches that registers with q, with tokens of the given kind.
func MakeWatches(q *queue.Poll, kind int) Watches { return Watches{q: q, kind: kind} }

// StartAt is Table.StartAt.
func (d *Watches) StartAt(g uint32) { d.table.StartAt(g) }

// Watch implements Driver.
func (d *Watches) Watch(w *Watch) error {
	d.table.Add(w, &w.State)
	err := d.q.Register(handle.OfAny(w.Source), Token(d.kind, w.Generation, w.Index), w.Interest, selector.Edge)
	if err != nil {
		d.table.Remove(&w.State)
	}
	return err
}

// Unwatch implements Driver.
func (d *Watches) Unwatch(w *Watch) {
	d.table.Remove(&w.State)
	d.q.Deregister(handle.OfAny(w.Source)) // fails for a closed source, whose registration has ended
}

// Event handles an event of the source with this generation and index.
func (d *Watches) Event(generation, index uint32, ev queue.Event) {
	if w := d.table.At(index); w != nil && w.Generation == generation {
		w.Up.Ready(ev.Flags)
	}
}
