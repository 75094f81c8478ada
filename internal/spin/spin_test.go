package spin

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A bench simulates a wait that uses a Governor, on the clock of a synctest bubble.
type bench struct {
	*testing.T
	Governor
	slept int // idle periods that went to sleep
}

// run runs f in a synctest bubble, whose clock advances only when all goroutines sleep.
func run(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t}
		f(b)
		if n := spinning.Load(); n != 0 {
			t.Errorf("%d spinners are counted when no wait spins", n)
		}
	})
}

// idle simulates one idle period whose event comes after d. It reports whether it spun.
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

// learn simulates as many short periods as the Governor needs to spin.
func (b *bench) learn() {
	b.Helper()
	for range minScore {
		if b.idle(10 * time.Microsecond) {
			b.Fatal("it spins before minScore short periods")
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
			b.Errorf("of %d short periods %d spun, %d with a hit", periods, s.Spins, s.Hits)
		}
		if b.slept-minScore < periods/(maxHits+1) {
			b.Errorf("it slept %d times in %d periods: too rarely for Go's network poller", b.slept-minScore, periods)
		}
		if s.Window < 10*time.Microsecond || s.Window > maxWindow {
			b.Errorf("the window is %v", s.Window)
		}
	})
}

func TestQ11NoSpinWhereEventsAreFarApart(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		b.idle(time.Millisecond) // this one spins and misses
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

// After many short periods, one long period does not end spinning, and two do.
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

// A rare miss does not stop spinning; frequent misses do.
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

// If every second period is long, spinning would lose as much as it gains.
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

// A peer on the same processor runs only when the wait sleeps: the sleeps are short, and
// no spin succeeds.
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
			b.Errorf("it no longer spins after misses: %+v", s)
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
			b.Error("two waits of a queue spin at the same time")
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
			b.Error("two queues spin at the same time on one processor")
		}
		i.Hit(time.Now())
		if !other.idle(5 * time.Microsecond) {
			b.Error("the other queue does not spin afterwards")
		}
	})
}

// If other goroutines run long after Gosched, they need the processor: spinning ends.
func TestQ11NoSpinWhereOthersCompute(t *testing.T) {
	run(t, func(b *bench) {
		b.learn()
		b.idle(5 * time.Microsecond)
		b.noteOthers(shortSleep + 1)
		if b.Stats().Window != 0 || b.idle(5*time.Microsecond) {
			b.Error("it spins while other goroutines need the processor")
		}
	})
}

func TestFixedAndNever(t *testing.T) {
	run(t, func(b *bench) {
		b.Init(50*time.Microsecond, true)
		for range 100 {
			if !b.idle(time.Millisecond) || !b.idle(40*time.Microsecond) {
				b.Fatal("a period does not spin with a fixed window")
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
			b.Errorf("after InitFixed(0): %+v", s)
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

// BenchmarkSkipped is an idle period that does not spin because of earlier misses.
func BenchmarkSkipped(b *testing.B) {
	b.ReportAllocs()
	var g Governor
	for b.Loop() {
		g.skip = 2
		i := g.Begin(true)
		i.Slept()
	}
}

// BenchmarkMeasured is an idle period that is measured.
func BenchmarkMeasured(b *testing.B) {
	b.ReportAllocs()
	var g Governor
	for b.Loop() {
		g.score = 0
		i := g.Begin(true)
		i.Slept()
	}
}
