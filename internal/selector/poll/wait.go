//go:build unix

package poll

import (
	"os"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// batch is the input and the result of a round, which is one call of poll(2).
type batch struct {
	fds   []sys.PollFD
	round uint64
	next  int // index of the first result that has not been read
	left  int // how many descriptors from next on have a result
}

// maxSleep bounds one sleep; a longer one is divided. 32-bit systems count seconds, and macOS
// milliseconds, in 32 bits.
const maxSleep = 24 * time.Hour

// A wait is one call of Wait.
type wait struct {
	events []selector.Event
	pass   uint64 // number of the pass that fills events now
	selector.Deadline
	turn chan struct{} // capacity 1: wakes a follower
	own  batch         // of pollBesideLocked
}

// Wait implements selector.Selector.
func (s *Selector) Wait(events []selector.Event, timeout time.Duration) (int, error) {
	w := s.waits.Get().(*wait)
	w.events = events
	n, err := s.wait(w, timeout)
	w.events = nil
	s.waits.Put(w)
	return n, err
}

func (s *Selector) wait(w *wait, timeout time.Duration) (int, error) {
	if timeout == 0 {
		n, err := s.pollNow(w)
		s.Yield(n)
		return n, err
	}
	w.SetTimeout(timeout)
	idle := s.Begin(s.noneAsleep())
	if idle.Spins() {
		if n, err := s.spin(w, &idle); n > 0 || err != nil {
			return n, err
		}
	}
	n, err := s.sleep(w)
	idle.Slept()
	return n, err
}

// noneAsleep reports whether no waiter sleeps or is about to.
func (s *Selector) noneAsleep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lead.active && len(s.lead.followers) == 0
}

// sleep is sleepLocked; it wakes a follower before it returns.
func (s *Selector) sleep(w *wait) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.sleepLocked(w)
	s.wakeNextLocked()
	return n, err
}

// sleepLocked leads or follows until there are events for w, its deadline has passed, or
// there is a notice. The caller must hold s.mu, which is released while w sleeps.
func (s *Selector) sleepLocked(w *wait) (int, error) {
	for !s.lead.TakeNotice() {
		switch {
		case !s.lead.active:
			n, err := s.leadLocked(w, s.sleepTimeLocked(w))
			s.wakeExpiredLocked()
			if n > 0 || err != nil || w.Left() == 0 {
				return n, err
			}
		case w.Left() == 0:
			return s.pollBesideLocked(w)
		default:
			s.followLocked(w)
		}
	}
	return 0, nil
}

// sleepTimeLocked returns how long w, as the leader, may sleep; negative means forever. The
// caller must hold s.mu.
func (s *Selector) sleepTimeLocked(w *wait) time.Duration {
	first := w
	for _, f := range s.lead.followers {
		if !f.Forever && (first.Forever || f.At.Before(first.At)) {
			first = f
		}
	}
	s.lead.until = time.Time{}
	if !first.Forever {
		s.lead.until = first.At
	}
	if s.lead.Notified() {
		return 0
	}
	return min(first.Left(), maxSleep)
}

// leadLocked takes the results left in the leaders' batch, then makes a round that fills the
// batch again and takes its results. The caller must hold s.mu, which is released during the
// round, and no waiter may lead. If the results left fill w.events there is no round. If they
// give fewer events the round does not sleep; it is made nevertheless, because every Wait that
// has space reports a level. What was taken from the batch is not reported a second time.
func (s *Selector) leadLocked(w *wait, timeout time.Duration) (int, error) {
	b := &s.lead.batch
	s.passes++
	w.pass = s.passes
	n := s.takeResultsLocked(w, 0, b)
	switch {
	case n == len(w.events):
		return n, nil
	case n > 0:
		timeout = 0
	}
	s.beginRoundLocked(b)
	for i := range s.watches {
		k := &s.watches[i]
		if ask, in := k.wanted(); in {
			k.leaderAsked, k.leaderRound = ask, b.round
			b.fds = append(b.fds, sys.PollFD{Fd: int32(k.fd), Events: ask})
		}
	}
	s.lead.active = true
	s.mu.Unlock()
	found, e := sys.Poll(b.fds, timeout)
	s.mu.Lock()
	s.lead.active = false
	s.lead.returned.Broadcast()
	s.clearKickLocked()
	return s.endRoundLocked(w, n, b, found, e)
}

// pollBesideLocked makes a round that does not sleep, while another waiter leads. The caller
// must hold s.mu, which is released during the round. Results that w.events has no space for
// are dropped: they are still armed, so the leader finds them too.
func (s *Selector) pollBesideLocked(w *wait) (int, error) {
	b := &w.own
	s.passes++
	w.pass = s.passes
	s.beginRoundLocked(b)
	for i := range s.watches {
		if ask, in := s.watches[i].wanted(); in {
			b.fds = append(b.fds, sys.PollFD{Fd: int32(s.watches[i].fd), Events: ask})
		}
	}
	s.mu.Unlock()
	found, e := sys.Poll(b.fds, 0)
	s.mu.Lock()
	n, err := s.endRoundLocked(w, 0, b, found, e)
	b.left = 0
	return n, err
}

// beginRoundLocked starts a round with a batch of wakeR alone. The caller must hold s.mu.
func (s *Selector) beginRoundLocked(b *batch) {
	s.round++
	b.round, b.next, b.left = s.round, 0, 0
	b.fds = append(b.fds[:0], sys.PollFD{Fd: int32(s.wakeR), Events: sys.POLLIN})
}

// endRoundLocked takes the results of a round; w already has n events. A round that a signal
// has interrupted has no results: the caller computes again how long to sleep. An error is
// dropped if there are events: the next round fails again. The caller must hold s.mu.
func (s *Selector) endRoundLocked(w *wait, n int, b *batch, found int, e syscall.Errno) (int, error) {
	if e != 0 && e != syscall.EINTR && n == 0 {
		return 0, os.NewSyscallError("poll", e)
	}
	if e == 0 {
		b.left = found
	}
	return s.takeResultsLocked(w, n, b), nil
}

// takeResultsLocked converts the results left in b to events, after the n events that w has
// already and as far as w.events has space, and returns how many events w has then. It removes
// the registration of a descriptor that was closed without Delete. The caller must hold s.mu.
func (s *Selector) takeResultsLocked(w *wait, n int, b *batch) int {
	for ; b.left > 0 && n < len(w.events); b.next++ {
		p := &b.fds[b.next]
		if p.Revents == 0 {
			continue
		}
		b.left--
		k := s.findLocked(sys.FD(p.Fd))
		switch {
		case k == nil || k.changed >= b.round || k.reportedIn == w.pass:
		case p.Revents&sys.POLLNVAL != 0:
			s.removeLocked(k)
		default:
			if f := k.report(p.Revents, b.round); f != 0 {
				k.reportedIn = w.pass
				w.events[n] = selector.Event{Key: k.key, Flags: f}
				n++
			}
		}
	}
	return n
}

// pollNow collects what is ready now, without sleeping.
func (s *Selector) pollNow(w *wait) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lead.active {
		return s.pollBesideLocked(w)
	}
	n, err := s.leadLocked(w, 0)
	s.wakeNextLocked()
	return n, err
}

// spin polls until something is ready, there is a notice, which is left for sleep to take,
// or idle or w's deadline ends it.
func (s *Selector) spin(w *wait, idle *spin.Idle) (int, error) {
	now := time.Now()
	for end := w.Earlier(idle.Until()); now.Before(end); now = time.Now() {
		n, err := s.pollNow(w)
		if n > 0 || err != nil || s.lead.Notified() {
			idle.Hit(now)
			s.Yield(n)
			return n, err
		}
		if !s.noneAsleep() {
			idle.Drop(now) // an event would wake the sleeper as well
			return 0, nil
		}
	}
	idle.Expire(now)
	return 0, nil
}
