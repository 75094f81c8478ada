// Package spin decides whether a wait that finds no event polls the kernel for a short
// time before it sleeps. Selectors and drivers share it: each has the code that polls, and
// asks a Governor whether to poll and for how long. The rule is at Governor.
//
// On Windows a Governor spins only for a fixed window, one that the user has requested: the
// clock that Go reads there has steps of half a millisecond, so idle periods cannot be
// measured. docs/performance.md has the figures.
package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Governor keeps statistics of the idle periods of one queue. An idle period lasts from
// a wait that finds no event until there is one.
//
// The rule: a sleep and its wake-up cost several microseconds of processor time and more
// latency. If the next event comes within that time, spinning is cheaper and faster; if it
// does not, the whole spin is wasted. A Governor spins only if the recent idle periods
// indicate that it pays:
//
//   - The recent idle periods were short: a spin that found an event, or a sleep that ended
//     within shortSleep. Each short period increments the score, up to maxScore; a long one
//     divides it by 4. Spinning requires minScore. So one pause among many messages does not
//     end spinning, two in a row do, and events that are a millisecond apart are never spun
//     for.
//   - The window is windowFactor times the typical short period, within minWindow and
//     maxWindow.
//   - A spin that finds no event is a miss. A miss after at least minHits hits has no
//     consequence. After other misses the next 1, then 3, 7, … up to maxBackoff periods do
//     not spin; each hit halves that number. So if the peer needs this very processor to
//     answer, so that every sleep is short and no spin succeeds, the cost is one window in
//     maxBackoff periods.
//   - After maxHits hits without a sleep one period sleeps, so that Go's scheduler can
//     check its own network poller.
//   - Other goroutines run first, where that costs little (see Init). If they run long, the
//     period counts as long, and spinning ends.
//   - At most half of the processors spin at a time, in the whole process.
//   - A wait does not spin while another wait of the same queue sleeps: the event would
//     wake both.
//
// With a fixed window, an option of the user, every idle period spins.
type Governor struct {
	fixed  time.Duration // zero: adaptive; negative: never
	yields bool

	// One wait at a time holds claimed and may use the fields that follow. Other waits
	// neither spin nor are measured.
	claimed        atomic.Bool
	score          int // how short the recent periods were
	hitsSinceSleep int
	hitsSinceMiss  int
	skip           int // number of following periods that must not spin
	backoff        int // initial value of skip after the last miss
	typical        time.Duration
	maxSpinners    int32 // limit of spinning, as last computed
	refreshIn      int   // spins until maxSpinners is computed again

	window atomic.Int64
	spins  atomic.Uint64
	hits   atomic.Uint64
	nanos  atomic.Int64
}

const (
	// minScore is the lowest score at which a wait spins.
	minScore = 8
	maxScore = 64
	// shortSleep is the longest sleep that counts as short. It is longer than maxWindow
	// because it includes the time of the wake-up.
	shortSleep = 2 * maxWindow
	minWindow  = 10 * time.Microsecond
	maxWindow  = 40 * time.Microsecond
	// windowFactor allows for periods that are longer than usual.
	windowFactor = 4
	// typicalDivisor sets the weight of one period in the moving average typical: 1/8.
	typicalDivisor = 8
	maxBackoff     = 1<<12 - 1
	minHits        = 32
	maxHits        = 256
	// refreshEvery is the number of spins after which GOMAXPROCS is read again.
	refreshEvery = 256
)

// spinning is the number of waits that spin now, in the whole process.
var spinning atomic.Int32

// Init sets how to spin: adaptively (window zero), for a fixed window in every idle
// period (positive), or never (negative). yields reports that the waits are not locked to
// a thread: then it costs little to let other goroutines run.
func (g *Governor) Init(window time.Duration, yields bool) {
	g.fixed, g.yields = window, yields
	g.window.Store(int64(max(window, 0)))
}

// InitFixed is Init, but a window of zero means never. It is for Windows, whose clock, as
// Go reads it, advances by half a millisecond or more, too coarse to measure such times.
func (g *Governor) InitFixed(window time.Duration) {
	if window == 0 {
		window = -1
	}
	g.Init(window, false)
}

func (g *Governor) adaptive() bool { return g.fixed == 0 }

// An Idle is one idle period of one wait.
type Idle struct {
	g        *Governor // nil: this period is not measured, or has ended
	began    time.Time
	window   time.Duration
	spinning bool
}

// Begin begins an idle period: a wait calls it when it has found no event and may sleep.
// alone reports that no other wait of the queue sleeps. If Spins reports true, the wait
// spins until Until and calls Hit, Expire or Drop. It calls Slept in any case.
func (g *Governor) Begin(alone bool) Idle {
	switch {
	case g.fixed < 0:
		return Idle{}
	case g.fixed > 0:
		return Idle{g: g, began: time.Now(), window: g.fixed, spinning: true}
	case !alone || !g.claimed.CompareAndSwap(false, true):
		return Idle{}
	case g.skip > 0: // without reading the clock: this case must cost nothing
		g.skip--
		g.claimed.Store(false)
		return Idle{}
	}
	i := Idle{g: g, began: time.Now()}
	switch {
	case g.score < minScore:
	case g.hitsSinceSleep == maxHits:
		g.hitsSinceSleep = 0
	case g.acquireSpinner():
		i.spinning = true
		i.window = min(max(windowFactor*g.typical, minWindow), maxWindow)
		g.window.Store(int64(i.window))
		if g.yields {
			runtime.Gosched()
		}
	}
	return i
}

// acquireSpinner increments spinning, or returns false if the limit is reached.
func (g *Governor) acquireSpinner() bool {
	if g.refreshIn == 0 {
		g.refreshIn, g.maxSpinners = refreshEvery, int32(max(runtime.GOMAXPROCS(0)/2, 1))
	}
	g.refreshIn--
	if spinning.Add(1) > g.maxSpinners {
		spinning.Add(-1)
		return false
	}
	return true
}

// Spins reports whether to spin.
func (i *Idle) Spins() bool { return i.spinning }

// Until returns the time at which the spin ends, unless the deadline is earlier.
func (i *Idle) Until() time.Time { return i.began.Add(i.window) }

// Hit ends the period: the spin has found an event, at now.
func (i *Idle) Hit(now time.Time) {
	g := i.g
	g.hits.Add(1)
	spent := i.endSpin(now)
	if !g.adaptive() {
		return
	}
	g.backoff /= 2
	g.hitsSinceSleep++
	g.hitsSinceMiss++
	g.noteShort(spent)
	i.end()
}

// Miss records that the spin has found no event.
func (i *Idle) Miss(now time.Time) {
	g := i.g
	i.endSpin(now)
	if !g.adaptive() {
		return
	}
	g.hitsSinceSleep = 0
	if g.hitsSinceMiss < minHits {
		g.backoff = min(2*g.backoff+1, maxBackoff)
		g.skip = g.backoff
	}
	g.hitsSinceMiss = 0
}

// Drop ends the period without counting a hit or a miss: the deadline has passed, or
// another wait sleeps.
func (i *Idle) Drop(now time.Time) {
	i.endSpin(now)
	if i.g.adaptive() {
		i.end()
	}
}

// Expire ends a spin that has found no event until now. It is a miss if the window has
// passed; otherwise the deadline has passed, and the period is dropped.
func (i *Idle) Expire(now time.Time) {
	if now.Before(i.Until()) {
		i.Drop(now)
	} else {
		i.Miss(now)
	}
}

// Slept ends the period, unless it has already ended.
func (i *Idle) Slept() {
	g := i.g
	if g == nil || !g.adaptive() {
		return
	}
	if d := time.Since(i.began); d <= shortSleep {
		g.noteShort(d)
	} else {
		g.noteLong()
	}
	i.end()
}

// endSpin ends the spin, counts it and returns how long it took.
func (i *Idle) endSpin(now time.Time) time.Duration {
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

func (g *Governor) noteShort(d time.Duration) {
	g.score = min(g.score+1, maxScore)
	g.typical += (d - g.typical) / typicalDivisor
}

func (g *Governor) noteLong() {
	g.score /= 4
	if g.score < minScore {
		g.window.Store(0)
	}
}

// Gosched lets other goroutines run. If they run long, they need the processor, and
// spinning ends.
func (g *Governor) Gosched() {
	if !g.adaptive() || g.window.Load() == 0 {
		runtime.Gosched()
		return
	}
	began := time.Now()
	runtime.Gosched()
	g.noteOthers(time.Since(began))
}

// noteOthers records that other goroutines ran for d.
func (g *Governor) noteOthers(d time.Duration) {
	if d > shortSleep && g.claimed.CompareAndSwap(false, true) {
		g.score = 0
		g.window.Store(0)
		g.claimed.Store(false)
	}
}

// Stats has the statistics of a Governor.
type Stats struct {
	Window time.Duration // of the last spin; zero if the next idle period does not spin
	Spins  uint64        // idle periods that spun
	Hits   uint64        // those in which the spin found an event
	Time   time.Duration // spent spinning
}

// Stats returns the statistics. It may be called from any goroutine.
func (g *Governor) Stats() Stats {
	return Stats{
		Window: time.Duration(g.window.Load()), Spins: g.spins.Load(), Hits: g.hits.Load(), Time: time.Duration(g.nanos.Load()),
	}
}
