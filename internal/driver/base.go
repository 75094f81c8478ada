package driver

import (
	"slices"

	"github.com/pollux-io/pollux/internal/sys"
)

// Base is what all drivers keep in the same way; a driver embeds it. Like the driver's methods, its
// methods are for the loop's goroutine only.
type Base struct {
	// Budget is how many bytes one stream may receive in a turn.
	Budget int
	// Busy is the streams that the next turn serves, because they may have more data, or
	// something to report that no event of the system will bring.
	Busy TurnQueue[Stream]
	// Accepting is the listeners that the next turn serves, because they may have more
	// connections.
	Accepting TurnQueue[Listener]

	released []*Stream // to call Released
}

// MaxAccepts is how many connections of one listener a turn delivers, in the drivers that have no
// bound of their own.
const MaxAccepts = 64

// MakeBase returns the Base of a driver with the configuration c.
func MakeBase(c Config) Base {
	return Base{
		Budget:    c.BudgetBytes,
		Busy:      TurnQueue[Stream]{Mark: Busy},
		Accepting: TurnQueue[Listener]{Mark: Accepting},
	}
}

// HasWork reports whether there are upcalls to make that need no event of the system: if so, the
// turn must not wait.
func (b *Base) HasWork() bool {
	return b.Busy.Len() > 0 || b.Accepting.Len() > 0 || len(b.released) > 0
}

// AddBusy has the next turn serve the stream.
func (b *Base) AddBusy(s *Stream) { b.Busy.Put(s, &s.State) }

// AddAccepting has the next turn serve the listener.
func (b *Base) AddAccepting(l *Listener) { b.Accepting.Put(l, &l.State) }

// PauseAccept implements Driver, for drivers that accept by calls.
func (b *Base) PauseAccept(l *Listener) { l.Flags |= Paused }

// ResumeAccept implements Driver, for drivers that accept by calls. The next turn accepts without waiting
// for an event, because those of connections that arrived meanwhile are not reported again.
func (b *Base) ResumeAccept(l *Listener) {
	if l.Flags&(Paused|Unlisted) == Paused {
		l.Flags &^= Paused
		b.AddAccepting(l)
	}
}

// AddReleased has ReportReleased call Released, in this turn or the next.
func (b *Base) AddReleased(s *Stream) { b.released = append(b.released, s) }

// ReportReleased calls Released. Streams that its upcalls release are left to the next turn.
func (b *Base) ReportReleased() {
	n := len(b.released)
	for i := range n {
		if s := b.released[i]; s != nil { // nil: reported, and then the upcall ended the goroutine (runtime.Goexit)
			b.released[i] = nil
			s.Up.Released()
		}
	}
	b.released = slices.Delete(b.released, 0, n)
}

// ResetConn resets an accepted connection that is not delivered, as the system resets those in the
// backlog of a closed listener.
func ResetConn(fd sys.FD) {
	sys.SetLinger(fd, true, 0)
	sys.Close(fd)
}
