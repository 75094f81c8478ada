package exchange

import (
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// burst is for how long after a pause attempts may begin at once at a limited rate: timers are not more exact.
const burst = 10 * time.Millisecond

// A queue has the queries that wait to begin an attempt at a server, because of Limits.PerServer or
// Limits.Interval. The time in it does not count for the attempt. Its length is bounded by
// Limits.Queries.
type queue struct {
	waiting  []*Query // from head on; some may have ended meanwhile
	head     int
	valid    int         // queries in it that have not ended
	nextAt   int64       // when the next attempt may begin, if all had been regular
	alarm    wheel.Timer // when the rate permits another attempt
	admitted bool        // admitQueued will be called
}

func (q *queue) queued() int { return q.valid }

// admit reports whether q may begin an attempt now. Otherwise q waits in the queue, and q.attemptNow is called later.
func (s *server) admit(q *Query) bool {
	if s.unlimited() || s.queued() == 0 && s.mayBegin() {
		s.begun()
		return true
	}
	s.x.list(s)
	s.waiting = append(s.waiting, q)
	q.waitsFor = s
	s.countQueued(1)
	if s.mayBegin() { // others came first
		s.admitSoon()
	} else {
		s.awaitRate()
	}
	return false
}

func (s *server) unlimited() bool { return s.x.limits.PerServer == 0 && s.x.limits.Interval == 0 }

// mayBegin reports whether the limits permit an attempt now.
func (s *server) mayBegin() bool {
	l := &s.x.limits
	return (l.PerServer == 0 || s.inFlight < l.PerServer) && (l.Interval == 0 || s.rateWait() <= 0)
}

// rateWait is how long the rate forbids an attempt.
func (s *server) rateWait() time.Duration {
	return time.Duration(s.nextAt-s.x.now()) - max(burst-s.x.limits.Interval, 0)
}

func (s *server) begun() {
	if i := int64(s.x.limits.Interval); i > 0 {
		s.nextAt = max(s.nextAt, s.x.now()) + i
	}
}

// leave takes q out of the queue.
func (s *server) leave(q *Query) {
	q.waitsFor = nil
	s.countQueued(-1)
	if len(s.waiting)-s.head > 2*s.valid+minSlots { // most were canceled
		s.compact()
	}
}

// compact removes the queries that have left.
func (s *server) compact() {
	kept := s.waiting[:0]
	for _, q := range s.waiting[s.head:] {
		if q.waitsFor == s {
			kept = append(kept, q)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting, s.head = kept, 0
}

func (s *server) countQueued(change int) {
	s.valid += change
	s.nowQueued.Store(int64(s.valid))
}

// admitSoon has admitQueued called in a function of its own: the caller may be anywhere in the state of a
// query.
func (s *server) admitSoon() {
	if !s.admitted {
		s.admitted = true
		s.x.later(s.admitQueued)
	}
}

// admitQueued begins as many attempts as the limits permit.
func (s *server) admitQueued() {
	s.admitted = false
	for s.head < len(s.waiting) {
		q := s.waiting[s.head]
		if q.waitsFor == s && !s.mayBegin() {
			break
		}
		s.waiting[s.head] = nil
		s.head++
		if q.waitsFor == s {
			q.waitsFor = nil
			s.countQueued(-1)
			s.begun()
			q.attemptNow()
		}
	}
	if 2*s.head >= len(s.waiting) { // so each moves once, on the average
		s.compact()
	}
	s.awaitRate()
}

// awaitRate starts the alarm, if the queue waits for the rate.
func (s *server) awaitRate() {
	if s.queued() == 0 || s.x.limits.Interval == 0 {
		return
	}
	if wait := s.rateWait(); wait > 0 {
		s.x.startAlarm(&s.alarm, s.x.now()+int64(wait))
	}
}
