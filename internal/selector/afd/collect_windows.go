package afd

import "github.com/pollux-io/pollux/internal/sys"

// maxDeletedInFlight is how many deleted registrations may wait for their last
// completion before Add takes completions itself. Wait takes them, too, but a program
// may register and deregister without ever calling Wait.
const maxDeletedInFlight = 32

// takeCompletions takes completions from the port outside of Wait, to free deleted
// registrations. Live registrations with a completion become landed: the next Wait
// reports them.
func (s *Selector) takeCompletions() {
	if s.take != nil {
		s.take(0) // does the same
		return
	}
	w := s.waits.Get().(*wait)
	defer s.waits.Put(w)
	woken := false
	for range maxRounds {
		taken, e := sys.WaitPort(s.port, w.entries[:], 0)
		if e != 0 || taken == 0 {
			break // the next Wait returns the error
		}
		for i := range w.entries[:taken] {
			if entry := &w.entries[i]; entry.Key == wakeKey {
				woken = true
			} else {
				s.land(s.socketByID(uint32(entry.Overlapped - 1)))
			}
		}
	}
	if woken && s.sleep.Notified() || s.landed.count.Load() > 0 {
		s.wake()
	}
}

// land records that the poll of k has completed; the next Wait reports it.
func (s *Selector) land(k *socket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.inFlight.Add(-1)
	if k.deleted {
		s.finishPollLocked(k)
		return
	}
	k.phase = landed
	s.landed.push(k)
}

// takeLanded converts landed completions to events, as far as w has space, and returns
// their number.
func (s *Selector) takeLanded(w *wait) int {
	n := 0
	for n < len(w.events) {
		k := s.landed.pop()
		if k == nil {
			break
		}
		if k.phase == landed {
			if ev, ok := s.finishPollLocked(k); ok {
				w.events[n] = ev
				n++
			}
		}
		k.mu.Unlock()
	}
	return n
}
