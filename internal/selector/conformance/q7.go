package conformance

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Q7: wakers.
func (u *suite) q7() []test {
	return tests(
		test{"a wake before Wait is kept", u.wakeBefore},
		test{"a wake from another goroutine ends a Wait", u.wakeFromAnother},
		test{"wakes coalesce", u.wakesCoalesce},
		test{"no wake is lost", u.noWakeLost},
		test{"no wake is lost among many waiters", u.noWakeLostManyWaiters},
		test{"no wake is lost among edges", u.noWakeLostAmongEdges},
		test{"wakers and sources do not hide each other", u.wakersAndSources},
		test{"several wakers, several tokens", u.severalWakers},
		test{"a closed waker is silent", u.closedWaker},
	)
}

func (u *suite) waker(t testing.TB, q *pollux.Poll, tok pollux.Token) *pollux.Waker {
	t.Helper()
	w, err := q.NewWaker(tok)
	must(t, err)
	return w
}

func (u *suite) wakeBefore(t *testing.T) {
	q := u.poll(t)
	w := u.waker(t, q, 5)
	must(t, w.Wake())
	next(t, q, "a wake before the Wait", readable(5))
	u.strictlyQuiet(t, q)
}

func (u *suite) wakeFromAnother(t *testing.T) {
	for _, options := range [][]pollux.Option{nil, {pollux.BlockThread()}, {pollux.BusyPoll(time.Millisecond)}} {
		q := u.poll(t, options...)
		w := u.waker(t, q, 5)
		for i := range 200 {
			timeout := pollux.Forever
			if i%2 == 0 {
				timeout = time.Millisecond * time.Duration(i)
			}
			go w.Wake()
			events := make([]pollux.Event, 1)
			n, err := q.Wait(events, timeout)
			must(t, err)
			if n == 0 {
				next(t, q, "the wake", readable(5))
			}
		}
	}
}

func (u *suite) wakesCoalesce(t *testing.T) {
	q := u.poll(t)
	w := u.waker(t, q, 5)
	for range 1000 {
		must(t, w.Wake())
	}
	next(t, q, "a thousand wakes", readable(5))
	u.strictlyQuiet(t, q)
}

// noWakeLost increments a counter before each wake: after the last wake, a waiter must
// see the final count.
func (u *suite) noWakeLost(t *testing.T) { u.wakes(t, 1) }

func (u *suite) noWakeLostManyWaiters(t *testing.T) { u.wakes(t, waiters) }

func (u *suite) wakes(t *testing.T, waiting int) {
	wakes := int64(50_000)
	if testkit.Long() {
		wakes = 1_000_000
	}
	q := u.poll(t)
	w := u.waker(t, q, 5)
	var announced, seen atomic.Int64
	finished := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for range waiting {
		wg.Go(func() {
			events := make([]pollux.Event, 2)
			for {
				n, err := q.Wait(events, pollux.Forever)
				if err != nil {
					return
				}
				if n == 0 {
					continue
				}
				seen.Store(announced.Load())
				if announced.Load() == wakes {
					once.Do(func() { close(finished) })
				}
			}
		})
	}
	const wakers = 4
	var waking sync.WaitGroup
	for range wakers {
		waking.Go(func() {
			for range wakes / wakers {
				announced.Add(1)
				if err := w.Wake(); err != nil {
					t.Errorf("Wake: %v", err)
				}
			}
		})
	}
	progress(t, finished, &seen)
	waking.Wait() // a waiter may see the last announcement before its wake
	must(t, q.Close())
	wg.Wait()
}

// noWakeLostAmongEdges: wakes coincide with events of a source, which is not drained before
// the next Wait.
func (u *suite) noWakeLostAmongEdges(t *testing.T) {
	rounds := 5_000
	if testkit.Long() {
		rounds = 50_000
	}
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	w := u.waker(t, q, 5)
	woken := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		events := make([]pollux.Event, 8)
		one, all := make([]byte, 1), make([]byte, 64)
		for {
			n, err := q.Wait(events, pollux.Forever)
			if err != nil {
				return
			}
			for _, ev := range events[:n] {
				if ev.Token() == 1 {
					a.Read(one) // one of two bytes
					continue
				}
				for {
					if _, err := a.Read(all); err != nil {
						break
					}
				}
				woken <- struct{}{}
			}
		}
	})
	late := time.NewTimer(deadline)
	defer late.Stop()
	for i := range rounds {
		write(t, b, "xy")
		// Vary the moment of the wake during the Wait that the data ends.
		for end := time.Now().Add(time.Duration(i%64) * time.Microsecond); time.Now().Before(end); {
		}
		must(t, w.Wake())
		late.Reset(deadline)
		select {
		case <-woken:
		case <-late.C:
			t.Errorf("wake %d was lost: no event within %v", i, deadline)
			must(t, q.Close())
			go func() { <-woken }()
			wg.Wait()
			return
		}
	}
	must(t, q.Close())
	wg.Wait()
}

func (u *suite) wakersAndSources(t *testing.T) {
	for _, size := range []int{1, 2, 16} {
		q := u.poll(t)
		a, b := u.pair(t)
		must(t, q.Register(a, 1, pollux.Readable, pollux.Level))
		write(t, b, "x")
		next(t, q, "the source's byte", readable(1)) // a write to TCP may arrive late
		w := u.waker(t, q, 2)
		events := make([]pollux.Event, size)
		var source, waker int
		for range 200 {
			must(t, w.Wake())
			n, err := q.Wait(events, deadline)
			must(t, err)
			for _, ev := range events[:n] {
				if ev.Token() == 1 {
					source++
				} else {
					waker++
				}
			}
		}
		if source < 50 || waker < 50 {
			t.Errorf("slice of %d: %d events of the source and %d of the waker in 200 waits, want 50 of each at least", size, source, waker)
		}
	}
}

func (u *suite) severalWakers(t *testing.T) {
	q := u.poll(t)
	var all []*pollux.Waker
	for i := range pollux.Token(40) {
		all = append(all, u.waker(t, q, i))
	}
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() { w.Wake() })
	}
	reported := map[pollux.Token]int{}
	next(t, q, "forty wakers", func(ev pollux.Event) bool {
		reported[ev.Token()]++
		return len(reported) == 40
	})
	wg.Wait()
	for tok, n := range reported {
		if n != 1 {
			t.Errorf("waker %d was reported %d times, want once", tok, n)
		}
	}
}

func (u *suite) closedWaker(t *testing.T) {
	q := u.poll(t)
	w := u.waker(t, q, 5)
	must(t, w.Wake())
	must(t, w.Close())
	u.strictlyQuiet(t, q)
	if err := w.Wake(); err == nil {
		t.Error("Wake of a closed waker succeeded")
	}
}
