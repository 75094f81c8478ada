package simtest

import (
	"fmt"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// timerSlack is how late a timer may be: the wheel rounds its time up to a millisecond, and each turn of
// a loop takes a nanosecond of simulated time, at least.
const timerSlack = 2 * time.Millisecond

// timer is a Timer, and what is expected of it.
type timer struct {
	t       *loop.Timer
	loop    *loop.Loop
	running bool
	due     time.Time
	stops   *timer // unless nil, it stops that one, which is due at the same time
}

// maxTimers is how many timers a program has at most.
const maxTimers = 4

// loopFor returns one of all groups' loops.
func (w *world) loopFor(i int) *loop.Loop {
	g := w.groups[i%len(w.groups)].g
	return g.Loops()[i/len(w.groups)%w.p.setting.loops]
}

// startTimer starts a timer or, if micros is even, two that are due at the same time, of which the one
// that fires first stops the other.
func (w *world) startTimer(micros int) {
	if len(w.timers) >= maxTimers {
		return
	}
	l := w.loopFor(len(w.timers))
	x := w.newTimer(l, micros)
	if micros%2 == 0 {
		y := w.newTimer(l, micros)
		w.locked(func() { x.stops, y.stops = y, x })
	}
}

func (w *world) newTimer(l *loop.Loop, micros int) *timer {
	x := &timer{loop: l}
	w.timers = append(w.timers, x)
	d := time.Duration(micros) * time.Microsecond
	w.locked(func() { x.running, x.due = true, time.Now().Add(d) })
	w.called()
	x.t = x.loop.AfterFunc(d, func() {
		w.called()
		var stops *timer
		w.locked(func() {
			if late := time.Since(x.due); !x.running || late < 0 || late > timerSlack {
				w.failLocked(fmt.Sprintf("a timer fired %v late; it was running: %v", late, x.running))
			}
			x.running = false
			if x.stops != nil && x.stops.running {
				stops = x.stops
			}
		})
		if stops != nil {
			w.changeTimer("Stop", stops, stops.t.Stop, false, 0)
		}
	})
	return x
}

// lastTimer returns the last timer, or nil.
func (w *world) lastTimer() *timer {
	if len(w.timers) == 0 {
		return nil
	}
	return w.timers[len(w.timers)-1]
}

func (w *world) stopTimer() {
	if x := w.lastTimer(); x != nil {
		w.changeTimer("Stop", x, x.t.Stop, false, 0)
	}
}

func (w *world) resetTimer(micros int) {
	if x := w.lastTimer(); x != nil {
		d := time.Duration(micros) * time.Microsecond
		w.changeTimer("Reset", x, func() bool { return x.t.Reset(d) }, true, d)
	}
}

// changeTimer calls Stop or Reset, which reports whether the timer was running.
func (w *world) changeTimer(what string, x *timer, change func() bool, running bool, d time.Duration) {
	var was bool
	w.locked(func() { was, x.running, x.due = x.running, running, time.Now().Add(d) })
	w.called()
	if got := change(); got != was {
		w.fail(fmt.Sprintf("Timer.%s = %v, want %v", what, got, was))
	}
}

// checkTimersLocked checks that each timer has fired or was stopped, once they all should have.
func (w *world) checkTimersLocked() {
	for _, x := range w.timers {
		if x.running && !w.groups[0].shutdownBegun && !w.groups[len(w.groups)-1].shutdownBegun {
			w.failLocked("a timer has not fired")
		}
	}
}
