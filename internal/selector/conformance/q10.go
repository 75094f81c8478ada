package conformance

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Q10: after a warm-up, calls allocate no memory.
func (u *suite) q10() []test {
	return tests(
		test{"Register, Reregister and Deregister allocate nothing", u.registerAllocs},
		test{"Wait allocates nothing", u.waitAllocs},
		test{"Wake allocates nothing", u.wakeAllocs},
	)
}

// allocations runs f many times and returns the allocations per run, rounded down: objects
// that the garbage collector has removed from pools are allocated again occasionally.
func allocations(f func()) float64 { return allocationsIn(500, f) }

func allocationsIn(runs int, f func()) float64 {
	for range 10 {
		f()
	}
	return testing.AllocsPerRun(runs, f)
}

func (u *suite) registerAllocs(t *testing.T) {
	q := u.poll(t)
	a, _ := u.pair(t)
	if n := allocations(func() {
		must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
		must(t, q.Reregister(a, 2, pollux.Readable|pollux.Writable, pollux.Level))
		must(t, q.Deregister(a))
	}); n != 0 && !testkit.Race {
		t.Errorf("%v allocations", n)
	}
}

func (u *suite) waitAllocs(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	events := make([]pollux.Event, 16)
	buf, one := make([]byte, 16), []byte("x")
	if n := allocations(func() {
		b.Write(one)
		if n, err := q.Wait(events, deadline); n != 1 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		a.Read(buf)
	}); n != 0 && !testkit.Race {
		t.Errorf("%v allocations", n)
	}
	// A sleep may take two ticks of a slow clock, so there are fewer runs.
	if n := allocationsIn(100, func() {
		if _, err := q.Wait(events, time.Microsecond); err != nil {
			t.Fatal(err)
		}
	}); n != 0 && !testkit.Race {
		t.Errorf("%v allocations per Wait that times out, want 0", n)
	}
}

func (u *suite) wakeAllocs(t *testing.T) {
	q := u.poll(t)
	w := u.waker(t, q, 1)
	events := make([]pollux.Event, 16)
	if n := allocations(func() {
		must(t, w.Wake())
		if n, err := q.Wait(events, deadline); n != 1 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
	}); n != 0 && !testkit.Race {
		t.Errorf("%v allocations", n)
	}
}
