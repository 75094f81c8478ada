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
	at     int64 // nanoseconds since the group began; 0: stopped, or has fired
	queued bool  // in the inbox, for serve
}

// AfterFunc calls f on the loop after d, never early, and up to some milliseconds late, or more
// while the loop is busy; if d is zero or negative, soon. Timers fire in the order of their times,
// rounded up to milliseconds. In each turn of the loop they may run for a millisecond together, so
// that connections are served in between. Once the loop has ended, f is not called. Starting,
// moving and stopping a timer are O(1). AfterFunc panics if f is nil, unlike time.AfterFunc, which
// panics later.
//
// If f uses the returned Timer, such as to Reset it, call AfterFunc on the loop, in a callback or a
// function of Run: elsewhere f may run before AfterFunc has returned.
func (l *Loop) AfterFunc(d time.Duration, f func()) *Timer {
	if f == nil {
		panic("loop: AfterFunc called with a nil function")
	}
	t := &Timer{l: l, f: f}
	t.node.Fire = func(*wheel.Timer) { t.fire() }
	t.Reset(d)
	return t
}

// Reset makes the timer fire after d from now, whether or not it has fired. It returns true if
// the timer was running: then its function is not called for the time before. It returns false
// if the timer had fired, even if its function has not returned yet, or had been stopped.
func (t *Timer) Reset(d time.Duration) bool {
	return t.set(max(later(t.l.clock(), max(d, 0)), 1))
}

// Stop stops the timer. It returns true if the timer was running: then its function is not
// called, unless Reset starts it again. It returns false if the timer had fired, even if its
// function has not returned yet, or had been stopped. So for each start either the function is
// called, or one call of Stop or Reset returns true. Once the loop has ended, its timers do not
// fire: Stop returns true for those that were running.
//
// Stop does not wait for a function that has begun. On the timer's loop no function has begun but
// the caller, so once Stop has returned there, the function does not run.
func (t *Timer) Stop() bool { return t.set(0) }

// set changes the time at which the timer fires, or stops it if at is 0. It reports whether the
// timer was running.
func (t *Timer) set(at int64) (running bool) {
	in := &t.l.inbox
	in.Lock()
	running = t.at != 0
	put := !t.queued && (running || at != 0)
	t.queued = t.queued || put
	t.at = at
	in.Unlock()
	if put {
		t.l.put(op{timer: t})
	}
	return running
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

// fire runs when the time has come for which serve has started the timer.
func (t *Timer) fire() {
	in := &t.l.inbox
	in.Lock()
	fires := t.at != 0 && !t.queued // otherwise a Reset or Stop is to be applied
	if fires {
		t.at = 0
	}
	in.Unlock()
	if fires {
		t.l.call(workTimer, t.f, t.f)
	}
}
