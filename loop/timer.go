package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// A Timer calls a function on a loop at a given time. Its methods may be called from any
// goroutine.
type Timer struct {
	l    *Loop
	f    func()
	node wheel.Timer // accessed by the loop only

	// Guarded by the loop's inbox lock.
	at     int64 // nanoseconds since the group began; 0: stopped
	queued bool
}

// AfterFunc calls f on the loop after d, never early, and up to some milliseconds late; if d is
// zero or negative, soon. Timers fire in the order of their times, in milliseconds. In each turn
// of the loop they may run for a millisecond together, so that connections are served in
// between. Once the loop has ended, f is not called. Starting, moving and stopping a timer are
// O(1). AfterFunc panics if f is nil, unlike time.AfterFunc, which panics later.
func (l *Loop) AfterFunc(d time.Duration, f func()) *Timer {
	if f == nil {
		panic("loop: AfterFunc called with a nil function")
	}
	t := &Timer{l: l, f: f}
	t.node.Fire = func(*wheel.Timer) { t.fire() }
	t.set(d)
	return t
}

// Reset makes the timer fire after d from now, whether or not it has fired.
func (t *Timer) Reset(d time.Duration) { t.set(d) }

// Stop prevents the timer from firing. Called on its own loop it always does; called from
// another goroutine it may be too late.
func (t *Timer) Stop() { t.put(0) }

func (t *Timer) set(d time.Duration) {
	t.put(max(later(t.l.clock(), max(d, 0)), 1))
}

func (t *Timer) put(at int64) {
	in := &t.l.inbox
	in.Lock()
	t.at = at
	put := !t.queued
	t.queued = true
	in.Unlock()
	if put {
		t.l.put(op{timer: t})
	}
}

// serve applies the last Reset or Stop.
func (t *Timer) serve() {
	in := &t.l.inbox
	in.Lock()
	t.queued = false
	at := t.at
	in.Unlock()
	if at == 0 {
		t.l.timers.Stop(&t.node)
		return
	}
	t.l.timers.Start(&t.node, at)
}

func (t *Timer) fire() {
	in := &t.l.inbox
	in.Lock()
	stopped := t.at == 0 || t.queued
	in.Unlock()
	if !stopped {
		t.l.call(workTimer, t.f, t.f)
	}
}
