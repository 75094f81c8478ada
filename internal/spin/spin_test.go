package spin

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A bench is a Governor in the hands of a wait, on the clock of a bubble.
type bench struct {
	*testing.T
	Governor
	slept int // idle periods that went to sleep
}

// run runs f on a clock that only moves when everybody sleeps.
func run(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t}
		f(b)
		if n := spinning.Load(); n != 0 {
			t.Errorf("%d spinners are counted when nobody spins", n)
		}
	})
}

// idle is one idle period, whose event comes after d. It reports whether it was spun for.
func (b *bench) idle(d time.Duration) (spun bool) {
	i := b.Begin(true)
	if i.Spins() {
		window := time.Until(i.Until())
		if d <= window {
			time.Sleep(d)
			i.Hit(time.Now())
			return true
		}
		time.Sleep(window)
		i.Miss(time.Now())
		d -= window
		spun = true
	}
	b.slept++
	time.Sleep(d)
	i.Slept()
	return spun
}

// learn has the Governor see enough short periods to spin.
func (b *bench) learn() {
	b.Helper()
	for range minScore {
		if b.idle(10 * time.Microsecond) {
			b.Fatal("it spins before it has seen enough")
		}
	}
}

func TestQ11SpinsWhereSleepsAreShort(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		const periods = 1000
		for range periods {
			b.idle(10 * time.Microsecond)
		}
		s := b.Stats()
		if s.Hits != s.Spins || s.Hits < periods-periods/maxHits-1 {
			b.Errorf("of %d short periods %d were spun for, %d with success", periods, s.Spins, s.Hits)
		}
		if b.slept-minScore < periods/(maxHits+1) {
			b.Errorf("it slept %d times in %d periods: Go's poller does not get its turn", b.slept-minScore, periods)
		}
		if s.Window < 10*time.Microsecond || s.Window > maxWindow {
			b.Errorf("the window is %v", s.Window)
		}
	})
}

func TestQ11NoSpinWhereEventsAreFarApart(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		b.idle(time.Millisecond) // this one is spun for in vain
		before := b.Stats()
		if before.Window != 0 {
			b.Errorf("the window is %v after a long period", before.Window)
		}
		for range 1000 {
			b.idle(time.Millisecond)
		}
		if s := b.Stats(); s.Spins != before.Spins {
			b.Errorf("%d spins for events that are 1 ms apart", s.Spins-before.Spins)
		}
	})
}

// After many short periods one long one is forgiven, and two are not.
func TestQ11OneLongPeriodAmongMany(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		for range maxScore {
			b.idle(10 * time.Microsecond)
		}
		b.idle(time.Millisecond)
		if !b.idle(10 * time.Microsecond) {
			b.Error("it does not spin after one long period")
		}
		for range maxScore {
			b.idle(10 * time.Microsecond)
		}
		b.idle(time.Millisecond)
		b.idle(time.Millisecond)
		if b.idle(10 * time.Microsecond) {
			b.Error("it spins after two long periods")
		}
	})
}

// A miss now and then does not stop spinning; misses that come often do.
func TestQ11OneMissAmongMany(t *testing.T) {
	const missed = maxWindow + time.Microsecond
	run(t, func(b *bench) {
		b.learn()
		for range minHits {
			b.idle(10 * time.Microsecond)
		}
		b.idle(missed)
		if !b.idle(10 * time.Microsecond) {
			b.Error("it does not spin after one miss")
		}
		b.idle(missed)
		if b.idle(10 * time.Microsecond) {
			b.Error("it spins right after two misses")
		}
	})
}

// Every second period is long: what a spin gains on the one it would lose on the other.
func TestQ11NoSpinWhereEventsAreMixed(t *testing.T) {
	run(t, func(b *bench) {
		for range 1000 {
			b.idle(5 * time.Microsecond)
			b.idle(time.Millisecond)
		}
		if s := b.Stats(); s.Spins != 0 {
			b.Errorf("%d spins", s.Spins)
		}
	})
}

// A peer on the same processor answers only when the wait sleeps: the sleeps are short,
// and no spin succeeds.
func TestQ11MissesBackOff(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		const periods = 50_000
		for range periods {
			i := b.Begin(true)
			if i.Spins() {
				time.Sleep(time.Until(i.Until()))
				i.Miss(time.Now())
			}
			time.Sleep(5 * time.Microsecond)
			i.Slept()
		}
		if s := b.Stats(); s.Hits != 0 || s.Time > periods*5*time.Microsecond/200 {
			b.Errorf("%d periods of 5 µs: %d spins took %v", periods, s.Spins, s.Time)
		}
		// The peer moves to another processor.
		for range 2 * maxBackoff {
			b.idle(5 * time.Microsecond)
		}
		if s := b.Stats(); s.Hits < maxBackoff/2 {
			b.Errorf("it spins no more after misses: %+v", s)
		}
	})
}

func TestQ11OneOfManyWaitsSpins(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		first := b.Begin(true)
		if !first.Spins() {
			b.Fatal("it does not spin")
		}
		if i := b.Begin(true); i.Spins() {
			b.Error("two waits of a queue spin at once")
		} else {
			i.Slept()
		}
		first.Drop(time.Now())
		first.Slept()
		if i := b.Begin(false); i.Spins() {
			b.Error("a wait spins while another sleeps")
		} else {
			i.Slept()
		}
	})
}

func TestQ11SpinnersLeaveProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	run(t, func(b *bench) {
		b.learn()
		other := &bench{T: t}
		other.learn()
		i := b.Begin(true)
		if !i.Spins() {
			b.Fatal("it does not spin")
		}
		if other.idle(5 * time.Microsecond) {
			b.Error("two queues spin at once on one processor")
		}
		i.Hit(time.Now())
		if !other.idle(5 * time.Microsecond) {
			b.Error("the other queue does not spin afterwards")
		}
	})
}

// Goroutines that ran for long when they were let run need the processor.
func TestQ11NoSpinWhereOthersCompute(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		b.idle(5 * time.Microsecond)
		b.others(shortSleep + 1)
		if b.Stats().Window != 0 || b.idle(5*time.Microsecond) {
			b.Error("it spins while others need the processor")
		}
	})
}

func TestFixedAndNever(t *testing.T) {
	run(t, func(b *bench) {
		b.Init(50*time.Microsecond, true)
		for range 100 {
			if !b.idle(time.Millisecond) || !b.idle(40*time.Microsecond) {
				b.Fatal("a fixed window is not spun for")
			}
		}
		if s := b.Stats(); s != (Stats{Window: 50 * time.Microsecond, Spins: 200, Hits: 100, Time: 100 * 90 * time.Microsecond}) {
			b.Errorf("%+v", s)
		}
	})
	run(t, func(b *bench) {
		b.Init(-1, true)
		for range 100 {
			b.idle(5 * time.Microsecond)
		}
		if s := b.Stats(); s != (Stats{}) {
			b.Errorf("%+v", s)
		}
	})
	run(t, func(b *bench) {
		b.InitFixed(0)
		for range 100 {
			b.idle(5 * time.Microsecond)
		}
		if s := b.Stats(); s != (Stats{}) {
			b.Errorf("where the clock is too coarse: %+v", s)
		}
	})
}

func TestQ10NoAllocations(t *testing.T) {
	var g Governor
	if n := testing.AllocsPerRun(1000, func() {
		i := g.Begin(true)
		if i.Spins() {
			i.Hit(time.Now())
		}
		i.Slept()
	}); n != 0 {
		t.Errorf("%v allocations an idle period", n)
	}
}

// BenchmarkSkipped is an idle period while misses back off.
func BenchmarkSkipped(b *testing.B) {
	b.ReportAllocs()
	var g Governor
	for b.Loop() {
		g.skip = 2
		i := g.Begin(true)
		i.Slept()
	}
}

// BenchmarkMeasured is one that is measured.
func BenchmarkMeasured(b *testing.B) {
	b.ReportAllocs()
	var g Governor
	for b.Loop() {
		g.score = 0
		i := g.Begin(true)
		i.Slept()
	}
}
