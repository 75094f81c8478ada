package afd

import "github.com/pollux-io/pollux/internal/sys"

// maxDying is how many deleted registrations may wait for their last completion
// before Add looks for it itself. Waits take them as they come; but a program may
// register and deregister for as long as it likes without one.
const maxDying = 32

// collect takes completions from the port outside of a Wait. Those of deleted
// registrations are what it is for; what it finds of others is put into landed, for
// the next Wait to tell.
func (s *Selector) collect() {
	if s.take != nil {
		s.take(0) // as below
		return
	}
	w := s.waits.Get().(*wait)
	defer s.waits.Put(w)
	woken := false
	for range maxRounds {
		taken, e := sys.WaitPort(s.port, w.entries[:], 0)
		if e != 0 || taken == 0 {
			break // an error is for a Wait to find
		}
		for i := range w.entries[:taken] {
			if entry := &w.entries[i]; entry.Key == wakeKey {
				woken = true
			} else {
				s.land(s.numbered(uint32(entry.Overlapped - 1)))
			}
		}
	}
	if woken && s.sleep.Noticed() || s.landed.count.Load() > 0 {
		s.wake()
	}
}

// land takes note of a poll's completion, and leaves it to a Wait to tell.
func (s *Selector) land(k *socket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.inFlight.Add(-1)
	if k.deleted {
		s.look(k)
		return
	}
	k.phase = landed
	s.landed.push(k)
}

// takeLanded makes events of what collect has found.
func (s *Selector) takeLanded(w *wait) int {
	n := 0
	for n < len(w.events) {
		k := s.landed.pop()
		if k == nil {
			break
		}
		if k.phase == landed {
			if ev, tell := s.look(k); tell {
				w.events[n] = ev
				n++
			}
		}
		k.mu.Unlock()
	}
	return n
}
