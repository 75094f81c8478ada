package afd

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

const (
	// maxBatch is how many completions one call takes from the port.
	maxBatch = 512
	// maxGuards is how many registrations may wait for their guard while no Wait
	// sleeps.
	maxGuards = 256
	// maxRounds bounds how often a Wait that does not sleep polls the port again
	// because a cancelled poll has been restarted and may have completed.
	maxRounds = 16
	// retryAfter is how long a Wait sleeps at most while a poll could not be
	// started.
	retryAfter = 50 * time.Millisecond
)

// sleepers is the number of Waits that sleep or are about to, and the notices for them.
//
// Notify sets a notice, then posts a packet if a Wait sleeps. A sleeper increments
// count before it checks for a notice for the last time, so one of the two sees the
// other. A packet is not addressed to a particular Wait. It is not lost if a Wait that
// returns events takes it: that Wait posts another if the notice is still set and
// another Wait sleeps. NotifyAll sets a permanent notice, so each sleeper wakes the
// next; closing the port does not wake sleepers on Wine.
type sleepers struct {
	count atomic.Int32
	selector.Notices
}

// Notify implements selector.Selector.
func (s *Selector) Notify() error {
	if !s.sleep.Notify() {
		return nil
	}
	err := s.wake()
	if err != nil {
		s.sleep.WakeFailed()
	}
	return err
}

// NotifyAll implements selector.Selector.
func (s *Selector) NotifyAll() error {
	s.sleep.NotifyAll()
	return s.wake()
}

// wake posts a packet, if a Wait sleeps.
func (s *Selector) wake() error {
	if s.sleep.count.Load() == 0 {
		return nil
	}
	if e := sys.PostPort(s.port, wakeKey); e != 0 {
		return sys.CallError("PostQueuedCompletionStatus", e)
	}
	return nil
}

// A wait is one call of Wait.
type wait struct {
	selector.Deadline
	entries [maxBatch]sys.OverlappedEntry
	events  []selector.Event
	woken   bool // a packet of wake has been taken
}

// buffer returns the buffer for completions, as long as w.events at most: each completion
// makes at most one event.
func (w *wait) buffer() []sys.OverlappedEntry { return w.entries[:min(len(w.events), maxBatch)] }

// Wait implements selector.Selector.
func (s *Selector) Wait(events []selector.Event, timeout time.Duration) (int, error) {
	w := s.waits.Get().(*wait)
	w.events, w.woken = events, false
	n, err := s.wait(w, timeout)
	if n > 0 && s.sleep.count.Load() > 0 {
		// Restart level registrations for the Waits that sleep.
		s.restartAll(&s.restarts)
	}
	// The polls still in restarts could not be started: a sleeper must try again.
	if w.woken && s.sleep.Notified() || s.landed.count.Load() > 0 || s.restarts.count.Load() > 0 {
		s.wake()
	}
	w.events = nil
	s.waits.Put(w)
	return n, err
}

func (s *Selector) wait(w *wait, timeout time.Duration) (int, error) {
	s.restartAll(&s.restarts)
	if timeout == 0 {
		n, err := s.pollNow(w)
		if w.woken && n == 0 {
			s.sleep.TakeNotice()
		}
		return n, err
	}
	w.SetTimeout(timeout)
	if idle := s.spins.Begin(true); idle.Spins() {
		if n, err := s.spin(w, &idle); n > 0 || err != nil {
			return n, err
		}
	}
	for {
		if s.guards.count.Load() > 0 {
			if n, err := s.pollNow(w); n > 0 || err != nil {
				return n, err
			}
			s.restartAll(&s.guards)
		}
		if n := s.takeLanded(w); n > 0 {
			return n, nil
		}
		n, err := s.sleepOnce(w)
		if n > 0 || err != nil || s.sleep.TakeNotice() || w.Left() == 0 {
			return n, err
		}
		s.restartAll(&s.restarts)
	}
}

// pollNow collects what is ready now, without sleeping. It continues while it takes
// completions without events: one may be of a cancelled poll whose successor has completed
// immediately. It does not take a notice: a Wait that sleeps afterwards must see it.
func (s *Selector) pollNow(w *wait) (int, error) {
	if s.guards.count.Load() > maxGuards {
		s.restartAll(&s.guards)
	}
	if n := s.takeLanded(w); n > 0 {
		return n, nil
	}
	if s.take != nil {
		return 0, nil
	}
	for range maxRounds {
		taken, e := sys.WaitPort(s.port, w.buffer(), 0)
		n, err := s.dispatch(w, taken, e)
		if n > 0 || err != nil {
			return n, err
		}
		if taken == 0 {
			break
		}
	}
	return 0, nil
}

// sleepOnce sleeps until there is a completion or a notice, until the deadline, or for
// retryAfter if polls could not be started.
func (s *Selector) sleepOnce(w *wait) (int, error) {
	s.sleep.count.Add(1)
	if s.sleep.Notified() || s.landed.count.Load() > 0 {
		s.sleep.count.Add(-1)
		return 0, nil
	}
	timeout := w.Left()
	if s.mustRetry() && (timeout < 0 || timeout > retryAfter) {
		timeout = retryAfter
	}
	taken, e := sys.WaitPort(s.port, w.buffer(), timeout)
	s.sleep.count.Add(-1)
	return s.dispatch(w, taken, e)
}

// mustRetry reports whether there are polls that could not be started. It must be called
// after restartAll for both lists: what is in them then has failed.
func (s *Selector) mustRetry() bool {
	return s.restarts.count.Load() > 0 || s.guards.count.Load() > 0
}

// dispatch converts the completions that w has taken to events and returns their number.
func (s *Selector) dispatch(w *wait, taken int, e syscall.Errno) (int, error) {
	if e != 0 {
		return 0, sys.CallError("GetQueuedCompletionStatusEx", e)
	}
	n := 0
	for i := range w.entries[:taken] {
		entry := &w.entries[i]
		if entry.Key == wakeKey {
			w.woken = true
			continue
		}
		if ev, ok := s.complete(s.socketByID(uint32(entry.Overlapped - 1))); ok {
			w.events[n] = ev
			n++
		}
	}
	return n, nil
}

// socketByID returns the registration with the number id, which it keeps until its poll
// has completed.
func (s *Selector) socketByID(id uint32) *socket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sockets[id]
}

// spin polls until something is ready, there is a notice, or idle or w's deadline ends it.
func (s *Selector) spin(w *wait, idle *spin.Idle) (int, error) {
	now := time.Now()
	for end := w.Earlier(idle.Until()); now.Before(end); now = time.Now() {
		n, err := s.pollNow(w)
		if n > 0 || err != nil || s.sleep.Notified() {
			idle.Hit(now)
			return n, err
		}
	}
	idle.Expire(now)
	return 0, nil
}
