//go:build unix

package poll

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// A watch is one registration.
type watch struct {
	fd       sys.FD
	key      selector.Key
	interest selector.Interest
	trigger  selector.Trigger

	spent    bool              // oneshot, and reported
	armed    selector.Interest // edge: directions to report when they are ready
	finTold  bool              // edge: the peer's FIN has been reported
	failTold bool              // edge: a hang-up or an error has been reported, and nothing armed since

	// Results of these rounds and of earlier ones do not count: of changed for the whole
	// registration, of the others for one direction.
	changed                     uint64
	noRead, noWrite, noPriority uint64

	reportedIn uint64 // the last pass that reported it; see wait.pass

	asleepIn uint64 // the last round of a leader that has asked for it
	asked    int16  // and what for
}

const (
	failEvents = sys.POLLHUP | sys.POLLERR
	endEvents  = sys.POLLRDHUP | failEvents
)

// bits returns what to ask poll(2) for.
func bits(i selector.Interest) int16 {
	var b int16
	if i&selector.Readable != 0 {
		b |= sys.POLLIN | sys.POLLRDHUP
	}
	if i&selector.Writable != 0 {
		b |= sys.POLLOUT
	}
	if i&selector.Priority != 0 {
		b |= sys.POLLPRI
	}
	return b
}

// block takes note that calls in the directions d would have blocked, when round
// was the latest.
func (w *watch) block(d selector.Interest, round uint64) {
	if d&selector.Readable != 0 {
		w.noRead = round
	}
	if d&selector.Writable != 0 {
		w.noWrite = round
	}
	if d&selector.Priority != 0 {
		w.noPriority = round
	}
	if d &= w.interest; d != 0 {
		w.armed |= d
		w.failTold = false
	}
}

// asks returns what to ask poll(2) for; in is false if the registration is to be
// left out, because there is nothing more to report of it until Modify or Blocked.
func (w *watch) asks() (ask int16, in bool) {
	switch {
	case w.spent:
		return 0, false
	case w.trigger != 0: // level, oneshot
		return bits(w.interest), true
	}
	ask = bits(w.armed)
	if w.interest&selector.Readable != 0 && !w.finTold {
		ask |= sys.POLLRDHUP
	}
	return ask, w.armed != 0 || !w.failTold
}

// tell makes flags of what a round has found, less what is not to be reported, and takes
// note of what is; none if there is nothing to report. A hang-up or an error is reported
// whenever the registration is in the set, and afterwards, with Edge, nothing is armed and
// it is left out: so poll(2) does not return again and again for what it reports unasked.
func (w *watch) tell(got int16, round uint64) selector.Flags {
	if w.noRead >= round {
		got &^= sys.POLLIN
	}
	if w.noWrite >= round {
		got &^= sys.POLLOUT
	}
	if w.noPriority >= round {
		got &^= sys.POLLPRI
	}
	ask, in := w.asks()
	if !in {
		return 0
	}
	got &= ask | failEvents
	f := flags(got, w.interest)
	switch {
	case f == 0:
	case w.trigger&selector.Oneshot != 0:
		w.spent = true
	case w.trigger == 0:
		w.armed &^= selector.Interest(f) & selector.AnyInterest
		w.finTold = w.finTold || got&sys.POLLRDHUP != 0
		if got&failEvents != 0 {
			w.failTold, w.armed = true, 0
		}
	}
	return f
}

// flags translates the events of poll(2); docs/platforms.md has the table.
func flags(got int16, interest selector.Interest) selector.Flags {
	var f selector.Flags
	if got&sys.POLLIN != 0 {
		f |= selector.ReadableFlag
	}
	if got&sys.POLLOUT != 0 {
		f |= selector.WritableFlag
	}
	if got&sys.POLLPRI != 0 {
		f |= selector.PriorityFlag
	}
	if got&endEvents == 0 {
		return f
	}
	if got&sys.POLLRDHUP != 0 {
		f |= selector.ReadClosed | selector.ReadableFlag
	}
	if got&sys.POLLHUP != 0 {
		f |= selector.ReadClosed | selector.ReadableFlag | selector.WritableFlag
		// Without POLLRDHUP, POLLHUP may stand for the peer's FIN alone (macOS).
		if sys.POLLRDHUP != 0 || interest&selector.Readable == 0 {
			f |= selector.WriteClosed
		}
	}
	if got&sys.POLLERR != 0 {
		f |= selector.Error | selector.ReadableFlag | selector.WritableFlag
	}
	return f
}
