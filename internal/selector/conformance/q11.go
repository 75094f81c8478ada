package conformance

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Q11: a Wait spins before it sleeps if that pays, and Poll.Spin returns the statistics.
func (u *suite) q11() []test {
	return []test{
		{"an idle queue does not spin", u.idleDoesNotSpin},
		{"every Wait spins for a fixed window", u.fixedWindow},
		{"with a window of zero no Wait spins", u.neverSpins},
		{"an event during a spin is found", u.foundBySpinning},
	}
}

const farApart = 2 * time.Millisecond // more than any adaptive window

func (u *suite) idleDoesNotSpin(t *testing.T) {
	q := u.spinningPoll(t, 0)
	for range 20 {
		timed(t, q, farApart)
	}
	if s := q.Spin(); s != (pollux.SpinStats{}) {
		t.Errorf("Spin after timeouts of %v only: %+v, want no spins", farApart, s)
	}
}

func (u *suite) fixedWindow(t *testing.T) {
	const window, waits = 100 * time.Microsecond, 10
	q := u.spinningPoll(t, window)
	for range waits {
		timed(t, q, farApart)
	}
	if s := q.Spin(); s.Window != window || s.Spins < waits || s.Hits > 0 || s.Time < waits*window {
		t.Errorf("Spin after %d waits with a window of %v: %+v", waits, window, s)
	}
}

func (u *suite) neverSpins(t *testing.T) {
	q := u.spinningPoll(t, -1)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Level))
	events := make([]pollux.Event, 1)
	for range 200 { // sleeps as short as possible
		timed(t, q, time.Microsecond)
	}
	write(t, b, "x")
	if n, err := q.Wait(events, deadline); n != 1 || err != nil {
		t.Fatalf("Wait = %d, %v", n, err)
	}
	if s := q.Spin(); s != (pollux.SpinStats{}) {
		t.Errorf("Spin: %+v, want no spins", s)
	}
}

func (u *suite) foundBySpinning(t *testing.T) {
	q := u.spinningPoll(t, pollux.MaxBusyPoll)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	w, err := q.NewWaker(2)
	must(t, err)
	hits := uint64(0)
	hit := func(what string, make func()) {
		t.Helper()
		// On a busy machine the other side may not run during one spin.
		if !testkit.Eventually(func() bool {
			make()
			return hits < q.Spin().Hits
		}) {
			t.Errorf("%s: not found by spinning: %+v", what, q.Spin())
		}
		hits = q.Spin().Hits
	}
	hit("a wake", func() {
		found := spinning(t, q)
		must(t, w.Wake())
		expect(t, found, 2)
	})
	hit("a byte", func() {
		found := spinning(t, q)
		write(t, b, "x")
		expect(t, found, 1)
	})
}

// spinning is waiting, but returns when the Wait is likely to spin.
func spinning(t *testing.T, q *pollux.Poll) <-chan pollux.Event {
	found := waiting(t, q)
	time.Sleep(settle)
	return found
}
