package netconn

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newHalf returns a half and its owner's mutex and closed.
func newHalf() (h *half, mu *sync.Mutex, closed *bool) {
	mu, closed = new(sync.Mutex), new(bool)
	return &half{cond: sync.Cond{L: mu}}, mu, closed
}

// expiresAfter waits for the deadline, and returns the time until then.
func expiresAfter(h *half, began time.Time) time.Duration {
	h.cond.L.Lock()
	defer h.cond.L.Unlock()
	for !h.expired {
		h.cond.Wait()
	}
	h.end()
	return time.Since(began)
}

// movedDeadlines are deadlines that follow each other; none removes the one before.
var movedDeadlines = [][]int{
	{3}, {3, 5}, {5, 3}, {3, none, 5}, {5, none, 3}, {3, 5, 4}, {3, 5, 9, 4}, {3, none, none, 3}, {2, 7, none, 6, 8}, {90, 3},
}

const none = -1

// A call ends at the deadline that was set last, whether the ones before were earlier or later, or it was removed in
// between. (The virtual clock has no monotonic reading.)
func TestMovedDeadline(t *testing.T) {
	for _, seconds := range movedDeadlines {
		synctest.Test(t, func(t *testing.T) {
			h, _, closed := newHalf()
			began := time.Now()
			setAll(h, closed, began, seconds, time.Second)
			if got, want := expiresAfter(h, began), time.Duration(seconds[len(seconds)-1])*time.Second; got != want {
				t.Errorf("deadlines after %v s: the call ended after %v, want %v", seconds, got, want)
			}
		})
	}
}

// The same with the machine's clock: a call ends, and not early.
func TestMovedDeadlineIsNotEarly(t *testing.T) {
	for _, times := range movedDeadlines {
		h, _, closed := newHalf()
		began := time.Now()
		setAll(h, closed, began, times, time.Millisecond)
		if got, want := expiresAfter(h, began), time.Duration(times[len(times)-1])*time.Millisecond; got < want {
			t.Errorf("deadlines after %v ms: the call ended after %v, want %v", times, got, want)
		}
	}
}

func setAll(h *half, closed *bool, began time.Time, times []int, unit time.Duration) {
	for _, n := range times {
		at := time.Time{}
		if n != none {
			at = began.Add(time.Duration(n) * unit)
		}
		h.setDeadline(at, closed)
	}
}

// A deadline that is moved to a later time, or removed, does not set the timer, which finds it when it fires. A time without
// a monotonic reading does, as the wall clock may have been set.
func TestLaterDeadlineSetsNoTimer(t *testing.T) {
	h, mu, closed := newHalf()
	now := time.Now()
	in := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	for i, c := range []struct{ set, fires time.Time }{
		{in(2), in(2)}, {in(3), in(2)}, {time.Time{}, in(2)}, {in(2), in(2)}, {in(1), in(1)}, {in(4), in(1)},
	} {
		if h.setDeadline(c.set, closed); h.timer.at != c.fires {
			t.Errorf("step %d: the timer fires at %v, want %v", i, h.timer.at, c.fires)
		}
	}
	if h.deadlinePassed(); h.timer.at != in(4) || h.expired {
		t.Errorf("after it has fired, the timer fires at %v, want %v", h.timer.at, in(4))
	}
	if h.setDeadline(in(9).Round(0), closed); h.timer.at.Before(in(8)) || h.timer.at == h.timer.at.Round(0) {
		t.Errorf("for a time of the wall clock, the timer fires at %v", h.timer.at)
	}
	h.setDeadline(time.Time{}, closed)
	if h.deadlinePassed(); !h.timer.at.IsZero() || h.expired {
		t.Errorf("without a deadline, the timer fires at %v", h.timer.at)
	}
	mu.Lock()
	h.end()
	mu.Unlock()
}

// A timer that fires while the deadline is being moved or removed does not end calls.
func TestLateTimer(t *testing.T) {
	var mu sync.Mutex
	var closed bool
	h := half{cond: sync.Cond{L: &mu}}
	for _, at := range []time.Time{time.Now().Add(time.Hour), {}} {
		h.setDeadline(at, &closed)
		h.deadlinePassed() // of an earlier deadline
		if h.expired {
			t.Errorf("deadline %v: the timer of an earlier one has ended the calls", at)
		}
	}
	h.setDeadline(time.Now().Add(time.Hour), &closed)
	closed = true
	mu.Lock()
	h.end()
	mu.Unlock()
	if h.timer.Stop() {
		t.Error("the timer runs on after the end")
	}
	if h.setDeadline(time.Now(), &closed) || h.expired {
		t.Error("setDeadline has an effect after the end")
	}
}
