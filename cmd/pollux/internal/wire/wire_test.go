package wire

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

func newLoop(t *testing.T) *Loop {
	testkit.CheckLeaks(t)
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Timers fire in the order of their times, in whatever order they were armed, moved and
// stopped.
func TestTimers(t *testing.T) {
	l := &Loop{now: time.Unix(0, 0)}
	var got []int
	timers := make([]Timer, 10)
	for i := range timers {
		timers[i].F = func() { got = append(got, i) }
	}
	for _, i := range []int{5, 2, 9, 0, 7, 1, 8, 3, 6, 4} {
		l.Arm(&timers[i], time.Duration(i)*time.Second)
	}
	l.Arm(&timers[2], 20*time.Second)
	l.Disarm(&timers[5])
	l.Disarm(&timers[5])
	l.timers.run(l.now.Add(8 * time.Second))
	if want := []int{0, 1, 3, 4, 6, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
	if d := l.timers.wait(l.now.Add(8500 * time.Millisecond)); d != 500*time.Millisecond {
		t.Errorf("the next timer is in %v, want 500ms", d)
	}
	if d := l.timers.wait(l.now.Add(time.Minute)); d != 0 {
		t.Errorf("an expired timer is in %v, want 0s", d)
	}
	l.timers.run(l.now.Add(time.Minute))
	if d := l.timers.wait(l.now); d != pollux.Forever || len(got) != 9 {
		t.Errorf("without timers: wait %v; %d have fired, want 9", d, len(got))
	}
}

// A timer is not early, and may re-arm itself.
func TestTimerInLoop(t *testing.T) {
	l := newLoop(t)
	const pause, times = 2 * time.Millisecond, 5
	n, start := 0, time.Now()
	var tick Timer
	tick.F = func() {
		if n++; n == times {
			l.Stop()
			return
		}
		l.Arm(&tick, pause)
	}
	l.Post(func() { l.Arm(&tick, pause) })
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < times*pause {
		t.Errorf("%d times %v took %v", times, pause, d)
	}
}

// Each posted function is called once, those of one poster in order; after Close
// none is called.
func TestPost(t *testing.T) {
	l := newLoop(t)
	const posters, each = 8, 2000
	last := make([]int, posters)
	total := 0
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := 1; i <= each; i++ {
				l.Post(func() {
					if last[p] != i-1 {
						t.Errorf("poster %d: %d after %d", p, i, last[p])
					}
					last[p] = i
					if total++; total == posters*each {
						l.Stop()
					}
				})
			}
		})
	}
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	l.Close()
	l.Post(func() { t.Error("a function was called after Close") })
}
