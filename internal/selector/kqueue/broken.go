package kqueue

import (
	"sync"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// brokenList holds registrations whose EVFILT_WRITE kqueue refused because the
// pipe has no reader. The kernel will never report that side, but it is readiness
// to report, not an error of Add; so the selector reports it by itself: once, or
// from every Wait with Level. Each registration has one entry at most.
type brokenList struct {
	count   atomic.Int32
	mu      sync.Mutex
	entries []brokenEntry
}

type brokenEntry struct {
	fd      sys.FD
	version uint64
}

func (l *brokenList) any() bool { return l.count.Load() != 0 }

func (l *brokenList) put(fd sys.FD, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, brokenEntry{fd, version})
	l.count.Store(int32(len(l.entries)))
}

func (l *brokenList) drop(fd sys.FD) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.entries {
		if e.fd == fd {
			l.removeLocked(i)
			return
		}
	}
}

func (l *brokenList) removeLocked(i int) {
	l.entries = append(l.entries[:i], l.entries[i+1:]...)
	l.count.Store(int32(len(l.entries)))
}

// reportBroken adds events of the list's entries to w, as far as it has space.
func (s *Selector) reportBroken(w *wait) {
	if !s.broken.any() {
		return
	}
	s.broken.mu.Lock()
	defer s.broken.mu.Unlock()
	for i := 0; i < len(s.broken.entries) && w.n < len(w.events); {
		e := s.broken.entries[i]
		level := s.addEvent(w, uint64(e.fd), e.version, ^uint64(0), selector.WriteClosed|selector.WritableFlag)
		if level {
			i++
			continue
		}
		s.broken.removeLocked(i)
	}
}
