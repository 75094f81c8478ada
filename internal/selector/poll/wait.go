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

// batch is what a round asks, and what it finds.
type batch struct {
	fds   []sys.PollFD
	round uint64
	next  int // where looking at the results goes on
	left  int // how many descriptors from there on have something to tell
}

// maxSleep bounds one sleep; a longer one is taken in parts. 32-bit systems count seconds,
// and macOS milliseconds, in 32 bits.
const maxSleep = 24 * time.Hour

// A wait is one call of Wait.
type wait struct {
	events []selector.Event
	pass   uint64 // number of the pass that fills events now
	selector.Deadline
	turn chan struct{} // of one: sleep's loop must go round again
	own  batch         // of look
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
		n, err := s.glance(w)
		s.Yield(n)
		return n, err
	}
	w.SetTimeout(timeout)
	idle := s.Begin(s.alone())
	if idle.Spins() {
		if n, err := s.spin(w, &idle); n > 0 || err != nil {
			return n, err
		}
	}
	n, err := s.sleepOnce(w)
	idle.Slept()
	return n, err
}

// alone reports whether nobody sleeps, or is about to.
func (s *Selector) alone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lead.active && len(s.lead.followers) == 0
}

// sleepOnce is sleep, and leaves the lead to another.
func (s *Selector) sleepOnce(w *wait) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.sleep(w)
	s.passOn()
	return n, err
}

// sleep leads or follows until there is something for w, its deadline has passed, or
// there is a notice; s.mu is locked, but not while w sleeps.
func (s *Selector) sleep(w *wait) (int, error) {
	for !s.lead.TakeNotice() {
		switch {
		case !s.lead.active:
			n, err := s.collect(w, s.nap(w))
			s.releaseExpired()
			if n > 0 || err != nil || w.Left() == 0 {
				return n, err
			}
		case w.Left() == 0:
			return s.look(w)
		default:
			s.follow(w)
		}
	}
	return 0, nil
}

// nap returns how long w, as the leader, may sleep; negative: for ever.
func (s *Selector) nap(w *wait) time.Duration {
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
	if s.lead.Noticed() {
		return 0
	}
	return min(first.Left(), maxSleep)
}

// collect takes what there is in the batch, then what a round of poll(2) finds, which
// fills it anew; s.mu is locked, but not during the round, and nobody leads. A batch that
// fills the events leaves no room for a round. If it gives some, the round does not sleep;
// it is made all the same, for every Wait with room reports a level. What was taken from
// the batch is not reported a second time.
func (s *Selector) collect(w *wait, nap time.Duration) (int, error) {
	b := &s.lead.batch
	s.passes++
	w.pass = s.passes
	n := s.take(w, 0, b)
	switch {
	case n == len(w.events):
		return n, nil
	case n > 0:
		nap = 0
	}
	s.fill(b)
	for i := range s.watches {
		k := &s.watches[i]
		if ask, in := k.asks(); in {
			k.asked, k.asleepIn = ask, b.round
			b.fds = append(b.fds, sys.PollFD{Fd: int32(k.fd), Events: ask})
		}
	}
	s.lead.active = true
	s.mu.Unlock()
	found, e := sys.Poll(b.fds, nap)
	s.mu.Lock()
	s.lead.active = false
	s.lead.returned.Broadcast()
	s.endKick()
	return s.takeFound(w, n, b, found, e)
}

// look is a round that does not sleep, while another leads; s.mu is locked, but not during
// the round. What it finds and has no room for is dropped: it is still armed, so the leader
// finds it too.
func (s *Selector) look(w *wait) (int, error) {
	b := &w.own
	s.passes++
	w.pass = s.passes
	s.fill(b)
	for i := range s.watches {
		if ask, in := s.watches[i].asks(); in {
			b.fds = append(b.fds, sys.PollFD{Fd: int32(s.watches[i].fd), Events: ask})
		}
	}
	s.mu.Unlock()
	found, e := sys.Poll(b.fds, 0)
	s.mu.Lock()
	n, err := s.takeFound(w, 0, b, found, e)
	b.left = 0
	return n, err
}

// fill begins a round.
func (s *Selector) fill(b *batch) {
	s.round++
	b.round, b.next, b.left = s.round, 0, 0
	b.fds = append(b.fds[:0], sys.PollFD{Fd: int32(s.wakeR), Events: sys.POLLIN})
}

// takeFound is take for what a round has found; n events are there already. One that a
// signal has cut short has found nothing: the caller works out anew how long to sleep. An
// error beside events is dropped: the next round fails again.
func (s *Selector) takeFound(w *wait, n int, b *batch, found int, e syscall.Errno) (int, error) {
	if e != 0 && e != syscall.EINTR && n == 0 {
		return 0, os.NewSyscallError("poll", e)
	}
	if e == 0 {
		b.left = found
	}
	return s.take(w, n, b), nil
}

// take makes events of the rest of a batch, as far as there is room after the n
// events that are there already, and returns how many there are then. A descriptor
// that has been closed without Delete is forgotten.
func (s *Selector) take(w *wait, n int, b *batch) int {
	for ; b.left > 0 && n < len(w.events); b.next++ {
		p := &b.fds[b.next]
		if p.Revents == 0 {
			continue
		}
		b.left--
		k := s.find(sys.FD(p.Fd))
		switch {
		case k == nil || k.changed >= b.round || k.reportedIn == w.pass:
		case p.Revents&sys.POLLNVAL != 0:
			s.remove(k)
		default:
			if f := k.tell(p.Revents, b.round); f != 0 {
				k.reportedIn = w.pass
				w.events[n] = selector.Event{Key: k.key, Flags: f}
				n++
			}
		}
	}
	return n
}

// glance takes what is ready now, without sleeping.
func (s *Selector) glance(w *wait) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lead.active {
		return s.look(w)
	}
	n, err := s.collect(w, 0)
	s.passOn()
	return n, err
}

// spin glances again and again until something is ready, there is a notice, which is
// left for sleep to take, or idle or w's deadline ends it.
func (s *Selector) spin(w *wait, idle *spin.Idle) (int, error) {
	now := time.Now()
	for end := w.Sooner(idle.Until()); now.Before(end); now = time.Now() {
		n, err := s.glance(w)
		if n > 0 || err != nil || s.lead.Noticed() {
			idle.Hit(now)
			s.Yield(n)
			return n, err
		}
		if !s.alone() {
			idle.Drop(now) // an event would wake that one as well
			return 0, nil
		}
	}
	idle.Over(now)
	return 0, nil
}
