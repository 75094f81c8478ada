package netconn

import (
	"sync"
	"testing"
	"time"
)

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
