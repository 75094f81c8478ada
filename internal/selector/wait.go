package selector

import (
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/spin"
)

// Deadline is until when a Wait may sleep.
type Deadline struct {
	Forever bool
	At      time.Time // unless it is for ever
}

// SetTimeout makes the deadline of a timeout from now on; negative is for ever.
func (d *Deadline) SetTimeout(timeout time.Duration) {
	d.Forever = timeout < 0
	if !d.Forever {
		d.At = time.Now().Add(timeout)
	}
}

// Left returns the time until the deadline; negative without one, zero if it has passed.
func (d *Deadline) Left() time.Duration {
	if d.Forever {
		return -1
	}
	return max(time.Until(d.At), 0)
}

// Sooner returns t, or the deadline if that is before t.
func (d *Deadline) Sooner(t time.Time) time.Time {
	if !d.Forever && d.At.Before(t) {
		return d.At
	}
	return t
}

// Notices are what Notify and NotifyAll leave for those who wait.
type Notices struct {
	notified atomic.Bool
	ending   atomic.Bool
	unsent   atomic.Bool // see WakeFailed
}

// Notify leaves a notice for one Wait, and reports whether a sleeper must be woken for it.
// It need not if there is a notice already that no Wait has taken yet.
func (p *Notices) Notify() bool {
	return !p.notified.Swap(true) || p.unsent.Load() && p.unsent.Swap(false)
}

// WakeFailed takes note that waking a sleeper has failed: the notice stays, but a Wait that
// sleeps may not have heard of it, so the next Notify must wake again.
func (p *Notices) WakeFailed() { p.unsent.Store(true) }

// NotifyAll leaves a notice for all, for good.
func (p *Notices) NotifyAll() { p.ending.Store(true) }

// Ending reports whether NotifyAll has been called.
func (p *Notices) Ending() bool { return p.ending.Load() }

// Noticed reports whether a Wait is to return instead of sleeping.
func (p *Notices) Noticed() bool { return p.notified.Load() || p.ending.Load() }

// TakeNotice is Noticed for the Wait that returns because of it.
func (p *Notices) TakeNotice() bool { return p.notified.Swap(false) || p.ending.Load() }

// A Pacer decides when a Wait gives its processor away: to other goroutines after so many
// events, and by going to sleep instead of spinning (see package spin).
type Pacer struct {
	spin.Governor
	since atomic.Uint32
}

// yieldEvery is how many events are handed out before others are let run: at about 5 µs of
// work each, a third of a millisecond. Raw system calls make a busy loop invisible to Go's
// scheduler, which would let it run for 10 ms and more; a garbage collection at GOMAXPROCS=1
// needs a dozen turns.
const yieldEvery = 64

// Yield counts a Wait that hands out n events.
func (p *Pacer) Yield(n int) {
	if p.since.Add(uint32(n)+4) >= yieldEvery {
		p.since.Store(0)
		p.Gosched()
	}
}
