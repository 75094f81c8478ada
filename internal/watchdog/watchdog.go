// Package watchdog finds functions that block the loop that runs them.
package watchdog

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Subject is a loop that a Watchdog watches. M describes what the loop is running: as long as
// that does not change, the loop is in the same function. The watchdog calls the methods from its
// own goroutine.
type Subject[M comparable] interface {
	// Awake reports whether the loop is awake: a loop that sleeps blocks nothing.
	Awake() bool
	// Running returns what the loop is running.
	Running() M
	// Blocked is called while a function has been running for the limit or longer: with first set
	// when the watchdog finds it, and then periodically. It has been running for took at least.
	Blocked(m M, took time.Duration, first bool)
}

// A Watchdog samples what loops are running, four times in each limit, on a goroutine of its own.
// That sleeps while all loops do, so that an idle process uses no processor time. The zero Watchdog
// does nothing until Start.
type Watchdog[M comparable] struct {
	asleep atomic.Bool
	wake   chan struct{} // receives one value for each time that Woke clears asleep
	stop   chan struct{} // closed to end the goroutine
	ended  sync.WaitGroup

	// Accessed by the goroutine only.
	subjects []Subject[M]
	limit    time.Duration
	samples  []sample[M] // for each subject, since its function was first seen
}

type sample[M comparable] struct {
	running M
	since   time.Time
	blocked bool // Blocked has been called
}

// newSample must be called after Running has returned m: this goroutine may have been delayed since
// its last tick, and what began meanwhile has not been running since then.
func newSample[M comparable](m M) sample[M] { return sample[M]{running: m, since: time.Now()} }

const (
	ticksPerLimit = 4
	// minInterval is the least time between two samples.
	minInterval = time.Millisecond
	// quietTicks is the number of consecutive ticks without activity after which the watchdog
	// sleeps, so that loops with occasional work do not wake it each time.
	quietTicks = 8
)

// Start starts the goroutine. Functions that run for limit or longer are reported. It must be
// called at most once, and not concurrently with Stop; the loops may be running.
func (w *Watchdog[M]) Start(limit time.Duration, subjects []Subject[M]) {
	w.wake, w.stop = make(chan struct{}, 1), make(chan struct{})
	w.limit, w.subjects = limit, subjects
	w.samples = make([]sample[M], len(subjects))
	w.ended.Go(w.run)
}

// Stop ends the goroutine, if Start was called, and waits for that. It must be called at most once.
func (w *Watchdog[M]) Stop() {
	if w.stop != nil {
		close(w.stop)
		w.ended.Wait()
	}
}

// Asleep reports whether the watchdog sleeps until the next Woke.
func (w *Watchdog[M]) Asleep() bool { return w.asleep.Load() }

// Woke must be called by each loop that wakes up, after its Awake has begun to report that. Either
// it sees that the watchdog is asleep, or the watchdog, which checks Awake after it has set
// asleep, sees that the loop is awake.
func (w *Watchdog[M]) Woke() {
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

func (w *Watchdog[M]) run() {
	interval := max(w.limit/ticksPerLimit, minInterval)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	w.restart()
	for quiet := 0; ; {
		select {
		case <-w.stop:
			return
		case now := <-tick.C:
			if quiet++; w.check(now) {
				quiet = 0
			}
			if quiet < quietTicks {
				continue
			}
		}
		tick.Stop()
		if !w.sleep() {
			return
		}
		w.restart()
		quiet = 0
		tick.Reset(interval)
	}
}

// restart begins all measurements now: what was seen before the watchdog slept is no measure for
// what is running since.
func (w *Watchdog[M]) restart() {
	for i, s := range w.subjects {
		w.samples[i] = newSample(s.Running())
	}
}

// sleep returns when a loop has woken up, or with false if the watchdog should end.
func (w *Watchdog[M]) sleep() bool {
	w.asleep.Store(true)
	for _, s := range w.subjects {
		if s.Awake() && w.asleep.CompareAndSwap(true, false) {
			return true
		}
	}
	select {
	case <-w.wake:
		return true
	case <-w.stop:
		return false
	}
}

// check compares what each loop is running with its sample, and takes a new sample of those whose
// function has changed. It reports whether any loop has been awake since the last check.
func (w *Watchdog[M]) check(now time.Time) (active bool) {
	for i, s := range w.subjects {
		last, m := &w.samples[i], s.Running()
		awake, changed := s.Awake(), m != last.running
		active = active || awake || changed
		if !awake || changed {
			*last = newSample(m)
			continue
		}
		if took := now.Sub(last.since); took >= w.limit {
			first := !last.blocked
			last.blocked = true
			s.Blocked(m, took, first)
		}
	}
	return active
}
