//go:build unix

package poll

import (
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// leadership is the state of the sleeping waiters. One waiter leads: it sleeps in poll(2)
// until the earliest deadline of all waiters. The others follow: each sleeps on a channel of
// its own. Results that the leader has no space for stay in batch, for the waiters that lead
// next; batch is not filled again before all of them have been read, so that no descriptor
// starves.
//
// A Wait that returns while no waiter leads wakes a follower, which checks the batch, its
// deadline and the notices, and then leads. So while there are followers, one waiter leads or
// is about to.
type leadership struct {
	active   bool // a leader is in poll(2), and only it may use batch
	batch    batch
	until    time.Time // the deadline until which the leader sleeps; zero: none
	kicked   bool      // there is a byte in the pipe: the leader returns from poll(2)
	returned sync.Cond // active has become false

	followers []*wait // the last leads next: its stack is the warmest

	selector.Notices
}

// followLocked sleeps until w is woken, while another waiter leads. The caller must hold
// s.mu, which is released while w sleeps.
func (s *Selector) followLocked(w *wait) {
	l := &s.lead
	l.followers = append(l.followers, w)
	if !w.Forever && (l.until.IsZero() || w.At.Before(l.until)) {
		l.until = w.At
		s.kickLocked()
	}
	s.mu.Unlock()
	<-w.turn
	s.mu.Lock()
}

// wakeNextLocked wakes a follower unless a waiter leads. A Wait calls it before it returns,
// and must hold s.mu.
func (s *Selector) wakeNextLocked() {
	if n := len(s.lead.followers); n > 0 && !s.lead.active {
		s.wakeFollowerLocked(n - 1)
	}
}

// wakeExpiredLocked wakes the followers whose deadline has passed. The caller must hold s.mu.
func (s *Selector) wakeExpiredLocked() {
	for i := len(s.lead.followers) - 1; i >= 0; i-- {
		if s.lead.followers[i].Left() == 0 {
			s.wakeFollowerLocked(i)
		}
	}
}

// wakeFollowerLocked removes follower i from the list and wakes it. The caller must hold s.mu.
func (s *Selector) wakeFollowerLocked(i int) {
	l := &s.lead
	w := l.followers[i]
	copy(l.followers[i:], l.followers[i+1:])
	l.followers[len(l.followers)-1] = nil
	l.followers = l.followers[:len(l.followers)-1]
	w.turn <- struct{}{}
}

// kickLocked makes the leader return from poll(2), if one is there. The pipe holds one byte at
// most, so the write never blocks. The caller must hold s.mu.
func (s *Selector) kickLocked() {
	if s.lead.active && !s.lead.kicked {
		_, e := sys.Write(s.wakeW, []byte{0})
		s.lead.kicked = e == 0
	}
}

// clearKickLocked empties the pipe after the leader has returned. The caller must hold s.mu.
func (s *Selector) clearKickLocked() {
	if s.lead.kicked {
		var b [1]byte
		sys.Read(s.wakeR, b[:])
		s.lead.kicked = false
	}
}

// Notify implements selector.Selector.
func (s *Selector) Notify() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead.Notify()
	s.kickLocked()
	return nil
}

// NotifyAll implements selector.Selector. Each waiter that leaves wakes the next.
func (s *Selector) NotifyAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead.NotifyAll()
	s.kickLocked()
	return nil
}
