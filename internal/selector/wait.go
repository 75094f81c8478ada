package selector

import (
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/spin"
)

// Deadline is the time until which a Wait may sleep.
type Deadline struct {
	Forever bool
	At      time.Time // if not Forever
}

// SetTimeout sets the deadline to timeout from now; negative means forever.
func (d *Deadline) SetTimeout(timeout time.Duration) {
	d.Forever = timeout < 0
	if !d.Forever {
		d.At = time.Now().Add(timeout)
	}
}

// Left returns the time until the deadline: negative if there is none, zero if it has passed.
func (d *Deadline) Left() time.Duration {
	if d.Forever {
		return -1
	}
	return max(time.Until(d.At), 0)
}

// Earlier returns the earlier of t and the deadline.
func (d *Deadline) Earlier(t time.Time) time.Time {
	if !d.Forever && d.At.Before(t) {
		return d.At
	}
	return t
}

// Notices are the notices that Notify and NotifyAll set for calls of Wait.
type Notices struct {
	notified   atomic.Bool
	ending     atomic.Bool
	wakeFailed atomic.Bool // see WakeFailed
}

// Notify sets a notice for one Wait, and reports whether a sleeper must be woken for it.
// No wake-up is needed while an earlier notice has not been taken.
func (p *Notices) Notify() bool {
	return !p.notified.Swap(true) || p.wakeFailed.Load() && p.wakeFailed.Swap(false)
}

// WakeFailed records that waking a sleeper has failed: the notice stays set, but a sleeping
// Wait may not have been woken, so the next Notify must wake again.
func (p *Notices) WakeFailed() { p.wakeFailed.Store(true) }

// NotifyAll sets a permanent notice for every Wait.
func (p *Notices) NotifyAll() { p.ending.Store(true) }

// Ending reports whether NotifyAll has been called.
func (p *Notices) Ending() bool { return p.ending.Load() }

// Notified reports whether a notice is set: a Wait must return instead of sleeping.
func (p *Notices) Notified() bool { return p.notified.Load() || p.ending.Load() }

// TakeNotice is Notified, and clears the notice of Notify, for the Wait that returns because of it.
func (p *Notices) TakeNotice() bool { return p.notified.Swap(false) || p.ending.Load() }

// A Pacer decides when a Wait yields its processor: to other goroutines after yieldEvery
// events, and by going to sleep instead of spinning (see package spin).
type Pacer struct {
	spin.Governor
	sinceYield atomic.Uint32
}

// yieldEvery is how many events are delivered before other goroutines may run: at about 5 µs of
// work each, a third of a millisecond. Go's scheduler does not see raw system calls and would
// let a busy loop run for 10 ms and more; a garbage collection at GOMAXPROCS=1 needs a dozen
// turns.
const yieldEvery = 64

// Yield counts a Wait that delivers n events, and yields if that makes yieldEvery.
func (p *Pacer) Yield(n int) {
	if p.sinceYield.Add(uint32(n)+4) >= yieldEvery {
		p.sinceYield.Store(0)
		p.Gosched()
	}
}
