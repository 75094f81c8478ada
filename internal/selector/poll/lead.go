//go:build unix

package poll

import (
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// leadership is who sleeps, and how. One waiter leads: it is in poll(2), until the
// first deadline of all waiters. The others follow: each sleeps on a channel of
// its own. What the leader finds and has no room for stays in batch, for those who
// come next; poll(2) is not called again before all of that has been looked at, so
// that nobody is passed over.
//
// Whoever leaves Wait while nobody leads makes a follower look again: at the
// batch, at its deadline, at the notices, and then it leads. So as long as there
// are followers, somebody leads or is about to.
type leadership struct {
	active   bool // somebody is in poll(2) with batch, which is nobody else's then
	batch    batch
	until    time.Time // when the leader will be back; zero: it sleeps for ever
	kicked   bool      // there is a byte in the pipe: the leader will be back at once
	returned sync.Cond // active has become false

	followers []*wait // the last comes first: its stack is the warmest

	selector.Notices
}

// follow sleeps until somebody wants w to look again; s.mu is locked, and somebody
// leads.
func (s *Selector) follow(w *wait) {
	l := &s.lead
	l.followers = append(l.followers, w)
	if !w.Forever && (l.until.IsZero() || w.At.Before(l.until)) {
		l.until = w.At
		s.kick()
	}
	s.mu.Unlock()
	<-w.turn
	s.mu.Lock()
}

// passOn makes a follower look again, if nobody leads: the caller leaves.
func (s *Selector) passOn() {
	if n := len(s.lead.followers); n > 0 && !s.lead.active {
		s.release(n - 1)
	}
}

// releaseExpired makes the followers look again whose deadline has passed.
func (s *Selector) releaseExpired() {
	for i := len(s.lead.followers) - 1; i >= 0; i-- {
		if s.lead.followers[i].Left() == 0 {
			s.release(i)
		}
	}
}

func (s *Selector) release(i int) {
	l := &s.lead
	w := l.followers[i]
	copy(l.followers[i:], l.followers[i+1:])
	l.followers[len(l.followers)-1] = nil
	l.followers = l.followers[:len(l.followers)-1]
	w.turn <- struct{}{}
}

// kick makes the leader come back from poll(2), if somebody is there; s.mu is
// locked. The pipe holds one byte at the most, so it always takes it.
func (s *Selector) kick() {
	if s.lead.active && !s.lead.kicked {
		_, e := sys.Write(s.wakeW, []byte{0})
		s.lead.kicked = e == 0
	}
}

// endKick empties the pipe. The leader is back.
func (s *Selector) endKick() {
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
	s.kick()
	return nil
}

// NotifyAll implements selector.Selector. Each waiter that leaves wakes the next.
func (s *Selector) NotifyAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead.NotifyAll()
	s.kick()
	return nil
}
