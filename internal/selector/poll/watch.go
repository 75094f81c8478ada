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

	fired        bool              // oneshot, and reported
	armed        selector.Interest // edge: directions to report when they are ready
	finReported  bool              // edge: the peer's FIN has been reported
	failReported bool              // edge: a hang-up or an error has been reported, and nothing armed since

	// Results of these rounds and of earlier ones are ignored: changed is for the whole
	// registration, each of the others for one direction.
	changed                     uint64
	noRead, noWrite, noPriority uint64

	reportedIn uint64 // the last pass that reported it; see wait.pass

	leaderRound uint64 // the last round of a leader that included it
	leaderAsked int16  // the events that this round asked for
}

const failEvents = sys.POLLHUP | sys.POLLERR

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

// rearm records that calls in the directions d would have blocked, when round
// was the latest round, and re-arms these directions.
func (w *watch) rearm(d selector.Interest, round uint64) {
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
		w.failReported = false
	}
}

// wanted returns what to ask poll(2) for; in is false if a round must leave the
// registration out: it has nothing more to report until Modify or Rearm.
func (w *watch) wanted() (ask int16, in bool) {
	switch {
	case w.fired:
		return 0, false
	case w.trigger != 0: // level, oneshot
		return bits(w.interest), true
	}
	ask = bits(w.armed)
	if w.interest&selector.Readable != 0 && !w.finReported {
		ask |= sys.POLLRDHUP
	}
	return ask, w.armed != 0 || !w.failReported
}

// report returns the flags to report for the result of a round, 0 for none, and records them
// as reported. A hang-up or an error is reported whenever the registration is in the set.
// Afterwards, with Edge, nothing is armed and the registration is left out, or poll(2), which
// reports these unasked, would return immediately each time.
func (w *watch) report(got int16, round uint64) selector.Flags {
	if w.noRead >= round {
		got &^= sys.POLLIN
	}
	if w.noWrite >= round {
		got &^= sys.POLLOUT
	}
	if w.noPriority >= round {
		got &^= sys.POLLPRI
	}
	ask, in := w.wanted()
	if !in {
		return 0
	}
	got &= ask | failEvents
	f := selector.PollFlags(got, w.interest)
	switch {
	case f == 0:
	case w.trigger&selector.Oneshot != 0:
		w.fired = true
	case w.trigger == 0:
		w.armed &^= selector.Interest(f) & selector.AnyInterest
		w.finReported = w.finReported || got&sys.POLLRDHUP != 0
		if got&failEvents != 0 {
			w.failReported, w.armed = true, 0
		}
	}
	return f
}
