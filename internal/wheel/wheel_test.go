package wheel

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// Random operations on a wheel and a plain list: each timer that is due fires once, never
// early and at most one tick late.
func TestAgainstAPlainList(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		now := random.Int64N(1 << 40)
		w := New(now)
		at := map[*Timer]int64{}
		timers := make([]*Timer, 200)
		for i := range timers {
			timers[i] = &Timer{Fire: func(x *Timer) {
				want, ok := at[x]
				if !ok {
					t.Fatalf("seed %d: a timer that does not run fired", seed)
				}
				if now < want {
					t.Fatalf("seed %d: fired %v early", seed, time.Duration(want-now))
				}
				delete(at, x)
			}}
		}
		for range 3000 {
			x := timers[random.IntN(len(timers))]
			switch random.IntN(4) {
			case 0, 1:
				when := now + random.Int64N(1<<random.IntN(45)) - 2*ms
				w.Start(x, when)
				at[x] = max(when, now)
			case 2:
				_, running := at[x]
				if w.Stop(x) != running {
					t.Fatalf("seed %d: Stop and the list disagree", seed)
				}
				delete(at, x)
			case 3:
				now += random.Int64N(1 << random.IntN(42))
				w.Advance(now, math.MaxInt)
				for _, when := range at {
					if when+2*ms <= now {
						t.Fatalf("seed %d: a timer is %v late", seed, time.Duration(now-when))
					}
				}
			}
			if w.Len() != len(at) {
				t.Fatalf("seed %d: %d timers run, want %d", seed, w.Len(), len(at))
			}
			if next, ok := w.Next(); ok != (len(at) > 0) {
				t.Fatalf("seed %d: Next = %v, %v with %d timers", seed, next, ok, len(at))
			} else if ok {
				for _, when := range at {
					if next > max(when, now)+2*ms {
						t.Fatalf("seed %d: Next is %v after a timer", seed, time.Duration(next-when))
					}
				}
			}
		}
	}
}

// TestNextIsExact: unless timers were stopped, Next is the tick of the first timer, also if that is far
// away.
func TestNextIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	for range 1000 {
		now := random.Int64N(1 << 40)
		w := New(now)
		first := int64(math.MaxInt64)
		for range 1 + random.IntN(5) {
			when := now + 2*ms + random.Int64N(1<<random.IntN(42))
			w.Start(&Timer{Fire: func(*Timer) {}}, when)
			first = min(first, when)
		}
		for range 3 {
			next, ok := w.Next()
			if want := (first + ms - 1) / ms * ms; !ok || next != want {
				t.Fatalf("Next = %d, %v for a timer at %d; now is %d", next, ok, first, now)
			}
			now = random.Int64N(next-now) + now // before the first timer
			if fired, _ := w.Advance(now, 1); fired != 0 {
				t.Fatal("a timer fired early")
			}
		}
	}
}

func TestOrderAndLimit(t *testing.T) {
	w := New(0)
	var fired []int64
	for _, when := range []int64{5000, 3, 70, 64, 4096, 1, 65, 4095, 300_000} {
		w.Start(&Timer{Fire: func(*Timer) { fired = append(fired, when) }}, when*ms)
	}
	n, more := w.Advance(400_000*ms, 4)
	if n != 4 || !more || len(fired) != 4 {
		t.Fatalf("Advance = %d, %v with limit 4", n, more)
	}
	if n, more := w.Advance(400_000*ms, 100); n != 5 || more {
		t.Fatalf("the rest = %d, %v", n, more)
	}
	for i := 1; i < len(fired); i++ {
		if fired[i-1] > fired[i] {
			t.Errorf("fired in the order %v", fired)
		}
	}
}

func TestFireMayDoAnything(t *testing.T) {
	w := New(0)
	count := 0
	var self, other Timer
	other.Fire = func(*Timer) { t.Error("a timer fired after another timer's Fire had stopped it") }
	self.Fire = func(x *Timer) {
		w.Stop(&other)
		if count++; count < 5 {
			w.Start(x, 0) // past: at the next tick
		}
	}
	w.Start(&other, 10*ms)
	w.Start(&self, 10*ms-1)
	w.Start(&other, 11*ms) // moved, so that self comes first
	if n, _ := w.Advance(100*ms, 1000); n != 5 || count != 5 {
		t.Errorf("fired %d times, want 5", count)
	}
	if w.Len() != 0 {
		t.Errorf("%d timers run", w.Len())
	}
	w.Start(&self, math.MaxInt64)
	if next, ok := w.Next(); !ok || next <= 0 {
		t.Errorf("Next = %d, %v for the largest time", next, ok)
	}
	w.Stop(&self)
}

func BenchmarkStartStop(b *testing.B) {
	w := New(0)
	timers := make([]Timer, 1<<20) // a million timers run
	for i := range timers {
		timers[i].Fire = func(*Timer) {}
		w.Start(&timers[i], int64(i)*ms/16)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Start(&timers[i%len(timers)], int64(i)*ms/8)
	}
}

func BenchmarkAdvance(b *testing.B) {
	w := New(0)
	timers := make([]Timer, 1<<20)
	now := int64(0)
	for i := range timers {
		timers[i].Fire = func(t *Timer) { w.Start(t, now+1000*ms) }
		w.Start(&timers[i], int64(i)*1000*ms/int64(len(timers)))
	}
	b.ReportAllocs()
	fired := 0
	for b.Loop() {
		now += ms
		n, _ := w.Advance(now, math.MaxInt)
		fired += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fired), "ns/timer")
}
