// Package spin decides whether a wait that finds nothing asks the kernel again for a
// short time before it sleeps. Selectors and drivers share it.
package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Governor holds what one queue has learned about its idle periods: the times from a
// wait that finds nothing until there is an event.
//
// The rule. To sleep and to wake again costs several microseconds of processor time and
// more of latency, so where the next event comes within that time, spinning is cheaper
// and faster; where it does not come, the whole spin is wasted. A Governor spins only
// where the recent past says that it pays:
//
//   - The recent idle periods were short: a spin that found something, or a sleep that ended
//     within shortSleep. Each short one adds to the score, up to maxScore; a long one leaves
//     a quarter of it. Spinning takes minScore. So one pause among many messages does not end
//     it, two in a row do, and events that are a millisecond apart are never spun for.
//   - The window is windowFactor times the typical short period, within minWindow and
//     maxWindow.
//   - A spin that finds nothing is a miss. One miss in minHits hits is forgiven. After
//     others the periods that follow are not spun for, once, then 3, 7, … up to maxBackoff of
//     them; each hit halves that number. So a peer that needs this very processor to answer,
//     for which every sleep is short and no spin ever succeeds, costs one window in
//     maxBackoff periods.
//   - After maxHits hits without a sleep one period is slept, so that Go's scheduler gets to
//     look at its own network poller.
//   - Other goroutines run first, where that costs little (see Init). If they run for long,
//     so is the period, and spinning ends.
//   - At most one in two processors spins at a time, in the whole process.
//   - Nobody spins while another wait of the same queue sleeps: the event would wake both.
//
// A fixed window, which the user asks for, is spun in every idle period.
type Governor struct {
	fixed  time.Duration // zero: adaptive; negative: never
	yields bool

	// One wait at a time holds claimed; what follows is its own. The others neither spin
	// nor are measured.
	claimed  atomic.Bool
	score    int // how short the recent periods were
	row      int // hits since the last sleep
	run      int // hits since the last miss
	skip     int // periods to come that are not spun for
	backoff  int // how many the last miss had skipped
	typical  time.Duration
	spinners int32 // how many may spin in this process, as last looked up
	lookUp   int   // spins until it is looked up again

	window atomic.Int64
	spins  atomic.Uint64
	hits   atomic.Uint64
	nanos  atomic.Int64
}

const (
	// minScore is how many idle periods must have been short before a spin.
	minScore = 8
	maxScore = 64
	// shortSleep is the longest sleep that counts as short. It is more than maxWindow,
	// for it contains the time that waking takes.
	shortSleep = 2 * maxWindow
	minWindow  = 10 * time.Microsecond
	maxWindow  = 40 * time.Microsecond
	// windowFactor leaves room for periods that are longer than usual.
	windowFactor = 4
	// typicalShare is the weight of one period in the typical one: an eighth.
	typicalShare = 8
	maxBackoff   = 1<<12 - 1
	minHits      = 32
	maxHits      = 256
	// lookUpEvery is in how many spins GOMAXPROCS is read once.
	lookUpEvery = 256
)

// spinning counts who spins now, in the whole process.
var spinning atomic.Int32

// Init sets how to spin: adaptively (window zero), for a fixed window in every idle
// period (positive), or never (negative). yields says that the waits are not locked to a
// thread: then to let other goroutines run costs little.
func (g *Governor) Init(window time.Duration, yields bool) {
	g.fixed, g.yields = window, yields
	g.window.Store(int64(max(window, 0)))
}

// InitFixed is Init where a window of zero is never: Windows' clock, as Go reads it, moves
// by half a millisecond and more, so nothing can be learned about such short times.
func (g *Governor) InitFixed(window time.Duration) {
	if window == 0 {
		window = -1
	}
	g.Init(window, false)
}

func (g *Governor) adaptive() bool { return g.fixed == 0 }

// An Idle is one idle period of one wait.
type Idle struct {
	g        *Governor // nil: this period is not measured, or no longer
	began    time.Time
	window   time.Duration
	spinning bool
}

// Begin is called by a wait that has found nothing and may sleep. alone says that no
// other wait of the queue sleeps. If Spins reports true, the wait spins until Until, and
// calls Hit, Over or Drop. Slept ends the period in any case.
func (g *Governor) Begin(alone bool) Idle {
	switch {
	case g.fixed < 0:
		return Idle{}
	case g.fixed > 0:
		return Idle{g: g, began: time.Now(), window: g.fixed, spinning: true}
	case !alone || !g.claimed.CompareAndSwap(false, true):
		return Idle{}
	case g.skip > 0: // without a look at the clock: this state must cost nothing
		g.skip--
		g.claimed.Store(false)
		return Idle{}
	}
	i := Idle{g: g, began: time.Now()}
	switch {
	case g.score < minScore:
	case g.row == maxHits:
		g.row = 0
	case g.mayStart():
		i.spinning = true
		i.window = min(max(windowFactor*g.typical, minWindow), maxWindow)
		g.window.Store(int64(i.window))
		if g.yields {
			runtime.Gosched()
		}
	}
	return i
}

// mayStart counts a spinner in, unless there are as many as may be.
func (g *Governor) mayStart() bool {
	if g.lookUp == 0 {
		g.lookUp, g.spinners = lookUpEvery, int32(max(runtime.GOMAXPROCS(0)/2, 1))
	}
	g.lookUp--
	if spinning.Add(1) > g.spinners {
		spinning.Add(-1)
		return false
	}
	return true
}

// Spins reports whether to spin.
func (i *Idle) Spins() bool { return i.spinning }

// Until returns when the spin ends, if the deadline does not come before.
func (i *Idle) Until() time.Time { return i.began.Add(i.window) }

// Hit ends the period: the spin has found something, at now.
func (i *Idle) Hit(now time.Time) {
	g := i.g
	g.hits.Add(1)
	spent := i.spun(now)
	if !g.adaptive() {
		return
	}
	g.backoff /= 2
	g.row++
	g.run++
	g.short(spent)
	i.end()
}

// Miss notes that the spin has found nothing.
func (i *Idle) Miss(now time.Time) {
	g := i.g
	i.spun(now)
	if !g.adaptive() {
		return
	}
	g.row = 0
	if g.run < minHits {
		g.backoff = min(2*g.backoff+1, maxBackoff)
		g.skip = g.backoff
	}
	g.run = 0
}

// Drop ends the period without a verdict: the deadline has come, or another wait sleeps.
func (i *Idle) Drop(now time.Time) {
	i.spun(now)
	if i.g.adaptive() {
		i.end()
	}
}

// Over ends a spin that has found nothing until now: its window is over, which is a miss, or
// the deadline has come.
func (i *Idle) Over(now time.Time) {
	if now.Before(i.Until()) {
		i.Drop(now)
	} else {
		i.Miss(now)
	}
}

// Slept ends the period, if nothing has ended it before.
func (i *Idle) Slept() {
	g := i.g
	if g == nil || !g.adaptive() {
		return
	}
	if d := time.Since(i.began); d <= shortSleep {
		g.short(d)
	} else {
		g.long()
	}
	i.end()
}

func (i *Idle) spun(now time.Time) time.Duration {
	spent := now.Sub(i.began)
	i.g.spins.Add(1)
	i.g.nanos.Add(int64(spent))
	if i.g.adaptive() {
		spinning.Add(-1)
	}
	return spent
}

func (i *Idle) end() {
	i.g.claimed.Store(false)
	i.g = nil
}

func (g *Governor) short(d time.Duration) {
	g.score = min(g.score+1, maxScore)
	g.typical += (d - g.typical) / typicalShare
}

func (g *Governor) long() {
	g.score /= 4
	if g.score < minScore {
		g.window.Store(0)
	}
}

// Gosched lets other goroutines run. If they run for long, the processor has better to do
// than to spin.
func (g *Governor) Gosched() {
	if !g.adaptive() || g.window.Load() == 0 {
		runtime.Gosched()
		return
	}
	began := time.Now()
	runtime.Gosched()
	g.others(time.Since(began))
}

// others notes that other goroutines ran for d.
func (g *Governor) others(d time.Duration) {
	if d > shortSleep && g.claimed.CompareAndSwap(false, true) {
		g.score = 0
		g.window.Store(0)
		g.claimed.Store(false)
	}
}

// Stats is what a Governor has done, and does now.
type Stats struct {
	Window time.Duration // of the last spin; zero if the next idle period is not spun for
	Spins  uint64        // idle periods that were spun for
	Hits   uint64        // those in which an event came during the spin
	Time   time.Duration // spent spinning
}

// Stats may be called from any goroutine.
func (g *Governor) Stats() Stats {
	return Stats{
		Window: time.Duration(g.window.Load()), Spins: g.spins.Load(), Hits: g.hits.Load(), Time: time.Duration(g.nanos.Load()),
	}
}
