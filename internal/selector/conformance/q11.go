package conformance

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux"
)

// Q11: a Wait spins before it sleeps where that pays, and Poll.Spin reports it.
func (u *suite) q11() []test {
	return []test{
		{"an idle queue does not spin", u.idleDoesNotSpin},
		{"a fixed window is spun for each time", u.fixedWindow},
		{"a window of zero is never", u.neverSpins},
		{"what comes during a spin is found", u.foundBySpinning},
	}
}

const farApart = 2 * time.Millisecond // more than any adaptive window

func (u *suite) idleDoesNotSpin(t *testing.T) {
	q := u.spinningPoll(t, 0)
	for range 20 {
		timed(t, q, farApart)
	}
	if s := q.Spin(); s != (pollux.SpinStats{}) {
		t.Errorf("timeouts of %v, and nothing else: %+v", farApart, s)
	}
}

func (u *suite) fixedWindow(t *testing.T) {
	const window, waits = 100 * time.Microsecond, 10
	q := u.spinningPoll(t, window)
	for range waits {
		timed(t, q, farApart)
	}
	if s := q.Spin(); s.Window != window || s.Spins < waits || s.Hits > 0 || s.Time < waits*window {
		t.Errorf("%d waits: %+v", waits, s)
	}
}

func (u *suite) neverSpins(t *testing.T) {
	q := u.spinningPoll(t, -1)
	a, b := u.pair(t)
	must(t, q.Registrator().Register(a, 1, pollux.Readable, pollux.Level))
	events := make([]pollux.Event, 1)
	for range 200 { // sleeps as short as can be
		timed(t, q, time.Microsecond)
	}
	write(t, b, "x")
	if n, err := q.Wait(events, deadline); n != 1 || err != nil {
		t.Fatalf("Wait = %d, %v", n, err)
	}
	if s := q.Spin(); s != (pollux.SpinStats{}) {
		t.Errorf("%+v", s)
	}
}

func (u *suite) foundBySpinning(t *testing.T) {
	q := u.spinningPoll(t, pollux.MaxBusyPoll)
	a, b := u.pair(t)
	must(t, q.Registrator().Register(a, 1, pollux.Readable, pollux.Edge))
	w, err := q.NewWaker(2)
	must(t, err)
	hits := uint64(0)
	hit := func(what string, make func()) {
		t.Helper()
		// A machine that is busy may not let the other side run during one spin.
		for range 20 {
			make()
			if hits < q.Spin().Hits {
				hits = q.Spin().Hits
				return
			}
		}
		t.Errorf("%s: no spin has found it: %+v", what, q.Spin())
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

// spinning is waiting that has most likely begun to spin.
func spinning(t *testing.T, q *pollux.Poll) <-chan pollux.Event {
	found := waiting(t, q)
	time.Sleep(settle)
	return found
}
