package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// A Timer calls a function on a loop once its time has come. Its methods may be
// called from any goroutine.
type Timer struct {
	l    *Loop
	f    func()
	node wheel.Timer // the loop's own

	// Guarded by the loop's inbox lock.
	at     int64 // nanoseconds since the group began; 0: stopped
	queued bool
}

// AfterFunc calls f on the loop after d, never early, and up to some milliseconds
// late; timers fire in the order of their times, in milliseconds, for a millisecond in each turn
// of the loop, so that connections are served between them; with d of zero or less, soon. Once the loop has ended, f is not called. To start,
// move or stop a timer is O(1). It panics if f is nil, as time.AfterFunc does later on.
func (l *Loop) AfterFunc(d time.Duration, f func()) *Timer {
	if f == nil {
		panic("loop: AfterFunc of a function that is nil")
	}
	t := &Timer{l: l, f: f}
	t.node.Fire = func(*wheel.Timer) { t.fire() }
	t.set(d)
	return t
}

// Reset makes the timer fire after d from now, whether it has fired or not.
func (t *Timer) Reset(d time.Duration) { t.set(d) }

// Stop keeps the timer from firing. On its own loop that is certain; called from
// elsewhere, it may come too late.
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

// serve takes over what was asked of the timer.
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
