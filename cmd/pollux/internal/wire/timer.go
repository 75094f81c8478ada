package wire

import (
	"container/heap"
	"time"

	"github.com/pollux-io/pollux"
)

// A Timer calls F on the loop when it expires. The zero value with F set is
// ready for Arm.
type Timer struct {
	F         func()
	when      time.Time
	heapIndex int // plus 1; 0: not armed
}

// Arm makes t expire d after the beginning of the current turn; it replaces an
// earlier time.
func (l *Loop) Arm(t *Timer, d time.Duration) {
	t.when = l.now.Add(d)
	if t.heapIndex > 0 {
		heap.Fix(&l.timers, t.heapIndex-1)
		return
	}
	heap.Push(&l.timers, t)
}

// Disarm stops t, armed or not.
func (l *Loop) Disarm(t *Timer) {
	if t.heapIndex > 0 {
		heap.Remove(&l.timers, t.heapIndex-1)
	}
}

// timers is a heap by time. It has a few timers for each call.
type timers []*Timer

// wait returns how long Poll.Wait may sleep.
func (h timers) wait(now time.Time) time.Duration {
	if len(h) == 0 {
		return pollux.Forever
	}
	return max(h[0].when.Sub(now), 0)
}

func (h *timers) run(now time.Time) {
	for len(*h) > 0 && !(*h)[0].when.After(now) {
		heap.Pop(h).(*Timer).F()
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].when.Before(h[j].when) }

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i+1, j+1
}

func (h *timers) Push(x any) {
	t := x.(*Timer)
	*h = append(*h, t)
	t.heapIndex = len(*h)
}

func (h *timers) Pop() any {
	n := len(*h) - 1
	t := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	t.heapIndex = 0
	return t
}
