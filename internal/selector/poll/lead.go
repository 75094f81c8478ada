//go:build unix

package poll

import (
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// leadership is which waiter sleeps in poll(2), and how the others sleep. One waiter
// leads: it is in poll(2), until the first deadline of all waiters. The others follow: each
// sleeps on a channel of its own. What the leader finds and has no room for stays in batch,
// for the waiters that lead next; batch is not filled again before all of that has been
// looked at, so that no descriptor starves.
//
// A Wait that returns while none leads makes a follower look again: at the batch, at its
// deadline, at the notices, and then it leads. So as long as there are followers, one waiter
// leads or is about to.
type leadership struct {
	active   bool // a leader is in poll(2) with batch, which is its own then
	batch    batch
	until    time.Time // the deadline that the leader sleeps to; zero: none
	kicked   bool      // there is a byte in the pipe: the leader will be back at once
	returned sync.Cond // active has become false

	followers []*wait // the last leads next: its stack is the warmest

	selector.Notices
}

// follow sleeps until w is released, to look again; s.mu is locked, but not while w sleeps,
// and another leads.
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

// passOn releases a follower, if none leads: the caller leaves Wait. s.mu is locked.
func (s *Selector) passOn() {
	if n := len(s.lead.followers); n > 0 && !s.lead.active {
		s.release(n - 1)
	}
}

// releaseExpired releases the followers whose deadline has passed; s.mu is locked.
func (s *Selector) releaseExpired() {
	for i := len(s.lead.followers) - 1; i >= 0; i-- {
		if s.lead.followers[i].Left() == 0 {
			s.release(i)
		}
	}
}

// release makes follower i look again; s.mu is locked.
func (s *Selector) release(i int) {
	l := &s.lead
	w := l.followers[i]
	copy(l.followers[i:], l.followers[i+1:])
	l.followers[len(l.followers)-1] = nil
	l.followers = l.followers[:len(l.followers)-1]
	w.turn <- struct{}{}
}

// kick makes the leader come back from poll(2), if one is there; s.mu is locked. The pipe
// holds one byte at the most, so there is always room for it.
func (s *Selector) kick() {
	if s.lead.active && !s.lead.kicked {
		_, e := sys.Write(s.wakeW, []byte{0})
		s.lead.kicked = e == 0
	}
}

// endKick empties the pipe: the leader is back. s.mu is locked.
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

// NotifyAll implements selector.Selector. Each waiter that leaves releases the next.
func (s *Selector) NotifyAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead.NotifyAll()
	s.kick()
	return nil
}
