package conformance

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Q6: time.
func (u *suite) q6() []test {
	return tests(
		test{"an empty wait is never early", u.neverEarly},
		test{"sub-millisecond waits are not rounded up to many", u.subMillisecond},
		test{"a zero timeout returns events", u.zeroCollects},
		test{"a zero timeout returns an event in a slice of one", u.zeroWithSliceOfOne},
		test{"negative waits until there is an event", u.forever},
		test{"many waiters with deadlines", u.manyDeadlines},
		test{"a short deadline after a long one", u.deadlinesMixed},
		test{"a short wait beside one that lasts forever", u.shortBesideForever},
		test{"signals do not end a wait early", u.signals},
		test{"huge timeouts", u.hugeTimeout},
		test{"an idle wait costs no processor time", u.idle},
		test{"an empty slice is refused", u.emptySlice},
	)
}

func timed(t testing.TB, q *pollux.Poll, timeout time.Duration) time.Duration {
	t.Helper()
	events := make([]pollux.Event, 1)
	start := time.Now()
	n, err := q.Wait(events, timeout)
	took := time.Since(start)
	if n != 0 || err != nil {
		t.Fatalf("Wait(%v) = %v, %v on an empty queue", timeout, events[:n], err)
	}
	if took < timeout {
		t.Errorf("Wait(%v) returned after %v", timeout, took)
	}
	return took
}

func (u *suite) neverEarly(t *testing.T) {
	for _, options := range [][]pollux.Option{nil, {pollux.BlockThread()}, {pollux.BusyPoll(100 * time.Microsecond)}} {
		q := u.poll(t, options...)
		for _, d := range []time.Duration{
			1, time.Microsecond, 99 * time.Microsecond, 999 * time.Microsecond,
			1001 * time.Microsecond, 2500 * time.Microsecond, 5 * time.Millisecond, 31 * time.Millisecond,
		} {
			for range 5 {
				timed(t, q, d)
			}
		}
	}
}

// subMillisecond uses the shortest of many waits, because the machine may be busy.
func (u *suite) subMillisecond(t *testing.T) {
	q := u.poll(t)
	for _, d := range []time.Duration{100 * time.Microsecond, 3100 * time.Microsecond} {
		best := time.Hour
		for range 30 {
			best = min(best, timed(t, q, d))
		}
		t.Logf("Wait(%v): best of 30 %v", d, best)
		if best > d+50*time.Millisecond {
			t.Errorf("Wait(%v) takes %v at best", d, best)
		}
	}
}

func (u *suite) zeroCollects(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	write(t, b, "x")
	events := make([]pollux.Event, 4)
	if !testkit.Eventually(func() bool {
		n, err := q.Wait(events, 0)
		must(t, err)
		return n == 1
	}) {
		t.Error("Wait(0) never returns the event")
	}
}

// zeroWithSliceOfOne: an entry of the kernel that is not an event, such as a wake-up or the
// second knote of a oneshot registration, must not take the place of an event.
func (u *suite) zeroWithSliceOfOne(t *testing.T) {
	q := u.poll(t, pollux.BlockThread())
	if u.ReportsLate {
		t.Skip("skipped: this system may take a moment to report what is ready")
	}
	w, err := q.NewWaker(9)
	must(t, err)
	found := waiting(t, q)
	time.Sleep(settle)
	must(t, w.Wake())
	expect(t, found, 9)

	a, b := u.pair(t)
	c, d := u.pair(t)
	write(t, b, "x")
	write(t, d, "x")
	reg := q.Registrator()
	must(t, reg.Register(a, 1, pollux.Readable, pollux.Edge))
	next(t, q, "the first stream's byte", readable(1))
	must(t, reg.Register(c, 2, pollux.Readable, pollux.Level))
	next(t, q, "the second stream's byte", readable(2))
	must(t, reg.Reregister(a, 1, pollux.Readable|pollux.Writable, pollux.Oneshot))
	events := make([]pollux.Event, 1)
	for i := range 4 {
		if n, err := q.Wait(events, 0); n != 1 || err != nil {
			t.Fatalf("Wait %d: %d, %v", i+1, n, err)
		}
	}
}

func (u *suite) forever(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	for _, timeout := range []time.Duration{pollux.Forever, -time.Hour} {
		start := time.Now() // before the other goroutine sleeps
		go func() {
			time.Sleep(settle)
			b.Write([]byte("x"))
		}()
		events := make([]pollux.Event, 1)
		if n, err := q.Wait(events, timeout); n != 1 || err != nil {
			t.Fatalf("Wait(%v) = %d, %v", timeout, n, err)
		}
		if took := time.Since(start); took < settle {
			t.Errorf("Wait(%v) returned after %v, before there was an event", timeout, took)
		}
		drain(t, a)
	}
}

func (u *suite) manyDeadlines(t *testing.T) {
	q := u.poll(t)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 3 {
				timed(t, q, time.Duration(i)*time.Millisecond+time.Microsecond)
			}
		})
	}
	wg.Wait()
}

func (u *suite) deadlinesMixed(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	events := make([]pollux.Event, 1)
	for range 5 {
		go b.Write([]byte("x"))
		if n, err := q.Wait(events, time.Hour); n != 1 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		drain(t, a)
		if took := timed(t, q, 5*time.Millisecond); took > deadline {
			t.Errorf("Wait(5 ms) took %v after a Wait of an hour", took)
		}
		go b.Write([]byte("x"))
		if n, err := q.Wait(events, pollux.Forever); n != 1 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		drain(t, a)
	}
}

// shortBesideForever: two goroutines wait on one Poll. The one with a deadline returns
// in time, whichever of the two sleeps in the kernel; the other still gets events.
func (u *suite) shortBesideForever(t *testing.T) {
	for _, options := range [][]pollux.Option{nil, {pollux.BlockThread()}} {
		q := u.poll(t, options...)
		a, b := u.pair(t)
		must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
		got := make(chan error)
		round := make(chan struct{})
		go func() {
			events := make([]pollux.Event, 1)
			for range round {
				n, err := q.Wait(events, pollux.Forever)
				if err == nil && (n != 1 || !events[0].Readable()) {
					err = fmt.Errorf("Wait(Forever) = %v", events[:n])
				}
				got <- err
			}
		}()
		for i := range 10 {
			round <- struct{}{}
			if i%2 == 0 {
				time.Sleep(settle / 4) // so that in these rounds the long one sleeps first
			}
			for _, d := range []time.Duration{time.Millisecond, 7 * time.Millisecond} {
				if took := timed(t, q, d); took > deadline/4 {
					t.Errorf("Wait(%v) beside Wait(Forever) took %v", d, took)
				}
			}
			write(t, b, "x")
			select {
			case err := <-got:
				must(t, err)
			case <-time.After(deadline):
				t.Fatal("Wait(Forever) got no event after a concurrent shorter Wait had returned")
			}
			drain(t, a)
		}
		close(round)
	}
}

func (u *suite) signals(t *testing.T) {
	stop, ok := startSignals()
	if !ok {
		t.Skip("this system has no signals")
	}
	defer stop()
	for _, options := range [][]pollux.Option{nil, {pollux.BlockThread()}} {
		q := u.poll(t, options...)
		for range 3 {
			timed(t, q, 50*time.Millisecond)
		}
		a, b := u.pair(t)
		must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
		for range 200 {
			write(t, b, "x")
			next(t, q, "a byte under a storm of signals", readable(1))
			drain(t, a)
		}
	}
}

func (u *suite) hugeTimeout(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	events := make([]pollux.Event, 1)
	for _, d := range []time.Duration{1<<63 - 1, 1 << 62, 1000 * time.Hour} {
		go b.Write([]byte("x"))
		if n, err := q.Wait(events, d); n != 1 || err != nil {
			t.Fatalf("Wait(%v) = %d, %v", d, n, err)
		}
		drain(t, a)
	}
}

func (u *suite) emptySlice(t *testing.T) {
	q := u.poll(t)
	for _, events := range [][]pollux.Event{nil, {}} {
		if _, err := q.Wait(events, pollux.Forever); !errors.Is(err, pollux.ErrNoRoom) {
			t.Errorf("Wait with an empty slice: %v, want ErrNoRoom", err)
		}
	}
}

// idle checks that a Wait without events uses no processor time: with a deadline and
// forever, and after a wake, a deadline or an event, which may leave state behind that
// wakes the sleeper again.
func (u *suite) idle(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	w := u.waker(t, q, 2)
	before := map[string]func(){
		"nothing":    func() {},
		"a wake":     func() { go w.Wake(); next(t, q, "the wake", readable(2)) },
		"a deadline": func() { timed(t, q, 3*time.Millisecond) },
		"an event":   func() { go b.Write([]byte("x")); next(t, q, "the byte", readable(1)); drain(t, a) },
	}
	const asleep = 200 * time.Millisecond
	wait := map[string]func(){
		"with a deadline": func() { timed(t, q, asleep) },
		"forever": func() {
			time.AfterFunc(asleep, func() { b.Write([]byte("x")) })
			next(t, q, "the end of the sleep", readable(1))
			drain(t, a)
		},
	}
	for what, f := range before {
		for how, sleep := range wait {
			f()
			used, ok := testkit.CPUTime()
			if !ok {
				t.Skip("this system does not report the processor time used")
			}
			sleep()
			now, _ := testkit.CPUTime()
			if spent := now - used; spent > asleep/4 {
				t.Errorf("after %s, an idle wait %s of %v used %v of processor time", what, how, asleep, spent)
			}
		}
	}
}
