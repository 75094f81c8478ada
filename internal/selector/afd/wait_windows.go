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
	// maxGuards is how many registrations may wait for their guard while nobody
	// goes to sleep.
	maxGuards = 256
	// maxRounds bounds how often a Wait that does not sleep looks again because a
	// cancelled poll has been started anew and may have completed.
	maxRounds = 16
	// retryAfter is for how long a Wait sleeps at the most while a poll could not
	// be started.
	retryAfter = 50 * time.Millisecond
)

// sleepers is who is in a Wait that may sleep, and the notices for them.
//
// Notify leaves a notice, then posts a packet if somebody sleeps. A sleeper counts
// itself in before it looks for a notice for the last time, so one of the two sees
// the other. A packet does not say for whom it is, nor is it lost if a Wait takes
// it that returns with events: that one posts another for as long as the notice
// stands and somebody sleeps. NotifyAll is a notice that stands for good, so each
// sleeper wakes the next; the end of the port itself wakes nobody on Wine.
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

// wake posts a packet, if somebody sleeps.
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

// room is where completions go: each makes one event at the most.
func (w *wait) room() []sys.OverlappedEntry { return w.entries[:min(len(w.events), maxBatch)] }

// Wait implements selector.Selector.
func (s *Selector) Wait(events []selector.Event, timeout time.Duration) (int, error) {
	w := s.waits.Get().(*wait)
	w.events, w.woken = events, false
	n, err := s.wait(w, timeout)
	if n > 0 && s.sleep.count.Load() > 0 {
		// Level, for those who sleep.
		s.flush(&s.again)
	}
	// What is left in again now are polls that could not be started: a sleeper has to try.
	if w.woken && s.sleep.Noticed() || s.landed.count.Load() > 0 || s.again.count.Load() > 0 {
		s.wake()
	}
	w.events = nil
	s.waits.Put(w)
	return n, err
}

func (s *Selector) wait(w *wait, timeout time.Duration) (int, error) {
	s.flush(&s.again)
	if timeout == 0 {
		n, err := s.poll(w)
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
			if n, err := s.poll(w); n > 0 || err != nil {
				return n, err
			}
			s.flush(&s.guards)
		}
		if n := s.takeLanded(w); n > 0 {
			return n, nil
		}
		n, err := s.doze(w)
		if n > 0 || err != nil || s.sleep.TakeNotice() || w.Left() == 0 {
			return n, err
		}
		s.flush(&s.again)
	}
}

// poll takes what is ready now. It goes on while it takes completions that tell
// nothing: one may be of a cancelled poll whose successor has completed at once. It takes
// no notice: whoever goes to sleep afterwards must still find that.
func (s *Selector) poll(w *wait) (int, error) {
	if s.guards.count.Load() > maxGuards {
		s.flush(&s.guards)
	}
	if n := s.takeLanded(w); n > 0 {
		return n, nil
	}
	if s.take != nil {
		return 0, nil
	}
	for range maxRounds {
		taken, e := sys.WaitPort(s.port, w.room(), 0)
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

// doze sleeps until there is a completion, or a notice.
func (s *Selector) doze(w *wait) (int, error) {
	s.sleep.count.Add(1)
	if s.sleep.Noticed() || s.landed.count.Load() > 0 {
		s.sleep.count.Add(-1)
		return 0, nil
	}
	nap := w.Left()
	if s.mustRetry() && (nap < 0 || nap > retryAfter) {
		nap = retryAfter
	}
	taken, e := sys.WaitPort(s.port, w.room(), nap)
	s.sleep.count.Add(-1)
	return s.dispatch(w, taken, e)
}

// mustRetry reports whether there are polls that could not be started. What was to be
// started before sleeping has been.
func (s *Selector) mustRetry() bool { return s.again.count.Load() > 0 || s.guards.count.Load() > 0 }

// dispatch makes events of the completions that w has taken.
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
		if ev, tell := s.complete(s.numbered(uint32(entry.Overlapped - 1))); tell {
			w.events[n] = ev
			n++
		}
	}
	return n, nil
}

// numbered returns the registration whose poll carries the number id: it keeps the
// number until the poll has completed.
func (s *Selector) numbered(id uint32) *socket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sockets[id]
}

// spin asks the port again and again until something is ready, there is a notice, or
// idle or w's deadline ends it.
func (s *Selector) spin(w *wait, idle *spin.Idle) (int, error) {
	now := time.Now()
	for end := w.Sooner(idle.Until()); now.Before(end); now = time.Now() {
		n, err := s.poll(w)
		if n > 0 || err != nil || s.sleep.Noticed() {
			idle.Hit(now)
			return n, err
		}
	}
	idle.Over(now)
	return 0, nil
}
