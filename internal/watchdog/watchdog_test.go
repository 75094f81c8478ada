package watchdog

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The tests run in synctest bubbles: the clock advances only while every goroutine is blocked, so
// all durations are exact.

const limit = 100 * time.Millisecond

// tick is the interval between two samples.
const tick = limit / ticksPerLimit

// settle is long enough for a Watchdog to sleep if nothing is awake.
const settle = (quietTicks + 1) * tick

// fakeLoop is a Subject.
type fakeLoop struct {
	awake   atomic.Bool
	running atomic.Int64
	samples atomic.Int64 // calls of Running
	checks  atomic.Int64 // calls of Awake
	delay   atomic.Int64 // how long the next call of Running takes before it looks, in nanoseconds
	wakesAt atomic.Int64 // the call of Awake during which the loop wakes up; 0: none
	w       *Watchdog[int64]

	mu      sync.Mutex
	reports []report
}

type report struct {
	running int64
	took    time.Duration
	first   bool
}

func (l *fakeLoop) Awake() bool {
	awake := l.awake.Load()
	if l.checks.Add(1) == l.wakesAt.Load() {
		l.running.Store(3)
		l.wake()
	}
	return awake
}

func (l *fakeLoop) Running() int64 {
	l.samples.Add(1)
	time.Sleep(time.Duration(l.delay.Swap(0)))
	return l.running.Load()
}

func (l *fakeLoop) Blocked(m int64, took time.Duration, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, report{m, took, first})
}

// wake wakes the loop as package loop does.
func (l *fakeLoop) wake() {
	l.awake.Store(true)
	l.w.Woke()
}

// run runs f in a bubble with a Watchdog of n loops, which sleep and run function 0. When f begins,
// half a tick has passed, so that what f does after whole ticks is between two samples.
func run(t *testing.T, n int, f func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var loops []*fakeLoop
		var subjects []Subject[int64]
		w := &Watchdog[int64]{}
		for range n {
			l := &fakeLoop{w: w}
			loops, subjects = append(loops, l), append(subjects, l)
		}
		w.Start(limit, subjects)
		defer w.Stop() // a watchdog that does not end fails the test
		time.Sleep(tick / 2)
		f(t, w, loops)
	})
}

// check compares a loop's reports since the last call.
func (l *fakeLoop) check(t *testing.T, want ...report) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.reports, want) {
		t.Errorf("reports: %v, want %v", l.reports, want)
	}
	l.reports = nil
}

// A function is reported when it has run for the limit, and again at each sample while it runs;
// the one after it is measured from its own beginning.
func TestBlockedIsReported(t *testing.T) {
	run(t, 2, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
		l := loops[1]
		l.running.Store(7)
		l.wake()
		time.Sleep(limit) // the function is first seen at the first tick
		l.check(t)
		time.Sleep(tick)
		l.check(t, report{7, limit, true})
		time.Sleep(2 * tick)
		l.check(t, report{7, limit + tick, false}, report{7, limit + 2*tick, false})
		l.running.Store(8)
		time.Sleep(tick + limit)
		l.check(t, report{8, limit, true})
		loops[0].check(t)
	})
}

// A function that goes on for long is found once.
func TestLongFunctionIsFoundOnce(t *testing.T) {
	run(t, 1, func(t *testing.T, _ *Watchdog[int64], loops []*fakeLoop) {
		l := loops[0]
		l.wake()
		const ticks = 4 * quietTicks
		time.Sleep(ticks * tick)
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, r := range l.reports {
			if r.first != (i == 0) {
				t.Errorf("report %d of one function is %v, want first only in report 0", i, r)
			}
		}
		if n := len(l.reports); n != ticks-ticksPerLimit+1 {
			t.Errorf("%d reports in %d ticks, want one each from tick %d on", n, ticks, ticksPerLimit)
		}
	})
}

// What a loop is running when the watchdog starts is measured from then on.
func TestFirstMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watchdog[int64]{}
		l := &fakeLoop{w: w}
		l.wake()
		w.Start(limit, []Subject[int64]{l})
		defer w.Stop()
		time.Sleep(limit - tick/2)
		l.check(t)
		time.Sleep(tick)
		l.check(t, report{0, limit, true})
	})
}

// A watchdog that is delayed, on a busy machine, does not take what began meanwhile for blocked.
func TestDelayedWatchdog(t *testing.T) {
	run(t, 1, func(t *testing.T, _ *Watchdog[int64], loops []*fakeLoop) {
		l := loops[0]
		l.wake()
		l.delay.Store(int64(limit)) // from the next tick, number 1, to number 5
		time.Sleep(limit)
		l.running.Store(9)
		time.Sleep(limit)
		l.check(t)
		time.Sleep(tick)
		l.check(t, report{9, limit, true})
	})
}

// Many short functions are not reported, however long they run together.
func TestShortFunctions(t *testing.T) {
	run(t, 1, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
		l := loops[0]
		l.wake()
		for range 100 {
			l.running.Add(1)
			time.Sleep(limit - tick)
		}
		l.check(t)
	})
}

// A loop that sleeps blocks nothing, however long, and its sleep does not count for what it runs
// afterwards.
func TestSleepingLoopIsNotBlocked(t *testing.T) {
	run(t, 2, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
		busy, l := loops[0], loops[1]
		busy.wake()
		for range 20 { // busy keeps the watchdog awake
			busy.running.Add(1)
			time.Sleep(tick)
		}
		l.awake.Store(true)
		for range ticksPerLimit - 1 {
			busy.running.Add(1)
			time.Sleep(tick)
		}
		l.check(t)
		busy.running.Add(1)
		time.Sleep(tick)
		l.check(t, report{0, limit, true})
	})
}

// While all loops sleep, the watchdog does, and takes no samples.
func TestSleepsWhileLoopsSleep(t *testing.T) {
	run(t, 2, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
		l := loops[1]
		for range 3 {
			time.Sleep(settle)
			synctest.Wait()
			if !w.Asleep() {
				t.Fatalf("the watchdog is awake after %v in which all loops slept", settle)
			}
			before := l.samples.Load()
			time.Sleep(time.Hour)
			if n := l.samples.Load() - before; n != 0 {
				t.Errorf("%d samples were taken while all loops slept", n)
			}
			l.wake()
			time.Sleep(tick / 2)
			if w.Asleep() {
				t.Error("the watchdog is asleep although a loop is awake")
			}
			l.awake.Store(false)
		}
	})
}

// Loops with occasional work do not let the watchdog sleep: waking it costs them more.
func TestOccasionalWorkKeepsItAwake(t *testing.T) {
	run(t, 1, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
		for range 10 {
			loops[0].running.Add(1)       // it was awake in between
			time.Sleep(quietTicks * tick) // quietTicks-1 of which follow the one that sees it
			if w.Asleep() {
				t.Fatalf("the watchdog is asleep %v after activity", quietTicks*tick)
			}
		}
	})
}

// When the watchdog wakes up, all measurements begin anew: a loop that has woken up and still
// shows what it ran before it slept was not blocked meanwhile.
func TestMeasurementsRestartAfterSleep(t *testing.T) {
	run(t, 2, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
		l := loops[0]
		time.Sleep(settle)
		if synctest.Wait(); !w.Asleep() {
			t.Fatal("the watchdog is awake")
		}
		time.Sleep(time.Hour)
		for _, l := range loops {
			l.wake()
		}
		time.Sleep(limit - tick/2)
		l.check(t)
		loops[1].check(t)
		time.Sleep(tick)
		l.check(t, report{0, limit, true})
		loops[1].check(t, report{0, limit, true})
	})
}

// A loop that wakes up while the watchdog falls asleep is not missed: neither if it sees that the
// watchdog is asleep, nor if it does not, for then the watchdog sees that the loop is awake.
func TestWakeWhileFallingAsleep(t *testing.T) {
	for _, seen := range []bool{false, true} {
		run(t, 1, func(t *testing.T, w *Watchdog[int64], loops []*fakeLoop) {
			l := loops[0]
			l.wakesAt.Store(quietTicks) // the last check; the next call is that of sleep
			if seen {
				l.wakesAt.Add(1)
			}
			time.Sleep(quietTicks * tick)
			if n := l.checks.Load(); n != quietTicks+1 {
				t.Fatalf("Awake was called %d times, want %d", n, quietTicks+1)
			}
			time.Sleep(limit)
			l.check(t, report{3, limit, true})
		})
	}
}

// Stop ends the watchdog while it is awake and while it sleeps; one that was not started needs
// no Stop, and Woke does nothing. (run fails if the goroutine does not end.)
func TestStop(t *testing.T) {
	run(t, 1, func(*testing.T, *Watchdog[int64], []*fakeLoop) {})
	run(t, 1, func(t *testing.T, w *Watchdog[int64], _ []*fakeLoop) {
		time.Sleep(settle)
		if synctest.Wait(); !w.Asleep() {
			t.Error("the watchdog is awake")
		}
	})
	var none Watchdog[int64]
	none.Woke()
	none.Stop()
}
