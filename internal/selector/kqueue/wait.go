package kqueue

import (
	"os"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
)

// maxBatch is how many events one call takes from the kernel.
const maxBatch = 512

// maxSleep bounds one sleep; a longer one is divided. kevent(2) refuses times
// that its clock cannot hold, and 32-bit systems count seconds in 32 bits.
const maxSleep = 24 * time.Hour

// A wait is one call of Wait.
type wait struct {
	kernel [maxBatch]Kevent
	time   Timespec
	events []selector.Event
	n      int  // events so far
	found  int  // how many events the last kevent(2) returned
	woken  bool // a wake-up has been taken
	level  bool // a level-triggered event has been taken
	selector.Deadline
}

// Wait implements selector.Selector.
func (s *Selector) Wait(events []selector.Event, timeout time.Duration) (int, error) {
	w := s.waits.Get().(*wait)
	w.events, w.n, w.woken, w.level = events[:min(len(events), maxBatch)], 0, false, false
	err := s.wait(w, timeout)
	s.wakeNext(w)
	n := w.n
	w.events = nil
	s.waits.Put(w)
	return n, err
}

func (s *Selector) wait(w *wait, timeout time.Duration) error {
	if err := s.pollNow(w); w.n > 0 || err != nil || timeout == 0 {
		s.Yield(w.n)
		return err
	}
	w.SetTimeout(timeout)
	idle := s.Begin(s.blocked.Load() == 0)
	if idle.Spins() {
		if done, err := s.spin(w, &idle); done || err != nil {
			return err
		}
	}
	err := s.sleep(w)
	idle.Slept()
	return err
}

// pollNow collects what is ready now, without sleeping. It calls kevent(2) again if that
// returned only entries that are not events, such as the second knote of a oneshot
// registration: they may have taken the place of an event.
func (s *Selector) pollNow(w *wait) error {
	s.reportBroken(w)
	for range maxPolls {
		w.time = Timespec{}
		if err := s.collect(w, &w.time); err != nil || w.n > 0 || w.found == 0 {
			return err
		}
	}
	return nil
}

// maxPolls bounds how often pollNow calls kevent(2).
const maxPolls = 8

// collect calls kevent(2) once and adds the events to w. A call that a signal has
// interrupted has no events: the caller computes again how long to sleep.
func (s *Selector) collect(w *wait, timeout *Timespec) error {
	space := len(w.events) - w.n
	w.found = 0
	if space == 0 {
		return nil
	}
	k, e := s.kernel.Kevent(s.kq, nil, w.kernel[:space], timeout)
	if e == syscall.EINTR {
		return nil
	}
	if e != 0 {
		return os.NewSyscallError("kevent", e)
	}
	w.found = k
	mask := s.traits.udataMask()
	for i := range w.kernel[:k] {
		ev := &w.kernel[i]
		if s.isWake(ev) {
			w.woken = true
			continue
		}
		s.addEvent(w, ev.Ident, ev.Udata, mask, flags(ev))
	}
	return nil
}

// addEvent adds an event of the descriptor to w, unless the event is stale, or its
// oneshot registration has fired already. It reports whether the registration is
// level-triggered and live.
//
// A registration with two interests has two knotes, and the kernel reports each
// separately. Both in one batch become one event: the watch stores the index of its
// last event, and the key found at that index shows whether it is in this batch. In
// two batches they are two events, except with oneshot: only the waiter that claims
// the registration first delivers an event. The kernel has disabled the other knote
// when it fired, or will when it does, and Modify adds both again, which reports
// existing readiness. So dropping the second event loses nothing.
func (s *Selector) addEvent(w *wait, fd, version, mask uint64, f selector.Flags) (level bool) {
	watch := s.watches.get(fd)
	if watch == nil {
		return false
	}
	state, key, ok := watch.read(version, mask)
	if !ok {
		return false
	}
	trigger, interest := triggerOf(state), interestOf(state)
	level = trigger == selector.Level
	if f&^(selector.Flags(selector.AnyInterest)&^selector.Flags(interest)) == 0 {
		return level // the knote for hang-ups; some files fire it for other reasons
	}
	w.level = w.level || level
	several := interest&(interest-1) != 0
	if several {
		if i := int(watch.lastIndex.Load()); i < w.n && w.events[i].Key == key {
			w.events[i].Flags |= f
			return level
		}
	}
	if trigger&selector.Oneshot != 0 && !watch.claim(state) {
		return false
	}
	if several {
		watch.lastIndex.Store(uint32(w.n))
	}
	w.events[w.n] = selector.Event{Key: key, Flags: f}
	w.n++
	return level
}

// flags translates a kevent; docs/platforms.md has the table.
func flags(k *Kevent) selector.Flags {
	const both = selector.ReadableFlag | selector.WritableFlag
	var f selector.Flags
	switch k.Filter {
	case FilterRead:
		f = selector.ReadableFlag
		if k.Flags&FlagEOF != 0 {
			f |= selector.ReadClosed
		}
	case FilterWrite:
		f = selector.WritableFlag
		if k.Flags&FlagEOF != 0 {
			f |= selector.WriteClosed
		}
	case FilterExcept:
		f = selector.PriorityFlag
		if k.Flags&FlagEOF != 0 {
			f = selector.ReadClosed | selector.ReadableFlag
		}
	}
	if k.Flags&FlagError != 0 || k.Flags&FlagEOF != 0 && k.Fflags != 0 {
		f |= selector.Failed | both
	}
	return f
}

// sleep blocks the thread in the kernel until something is ready, there is a
// notice, or the deadline has passed.
func (s *Selector) sleep(w *wait) error {
	for {
		s.blocked.Add(1)
		if s.Notified() || s.broken.any() {
			s.blocked.Add(-1)
			s.reportBroken(w)
			if w.n > 0 || s.TakeNotice() {
				return nil
			}
			continue // the list's entries were stale, or another waiter has taken them
		}
		err := s.collect(w, w.timespec())
		s.blocked.Add(-1)
		if err != nil {
			return err
		}
		if w.n > 0 {
			return nil
		}
		s.reportBroken(w)
		if w.n > 0 || s.TakeNotice() || w.Left() == 0 {
			return nil
		}
		w.woken = false
	}
}

// timespec returns the time left as an argument of kevent(2): nil means forever.
func (w *wait) timespec() *Timespec {
	left := w.Left()
	if left < 0 {
		return nil
	}
	left = min(left, maxSleep)
	w.time = Timespec{Sec: int64(left / time.Second), Nsec: int64(left % time.Second)}
	return &w.time
}

// spinsPerClock is how often spin polls the kernel between two readings of the clock.
const spinsPerClock = 4

// spin polls until something is ready, there is a notice, which is left for sleep to take,
// or idle or w's deadline ends it.
func (s *Selector) spin(w *wait, idle *spin.Idle) (done bool, err error) {
	now := time.Now()
	for end := w.Earlier(idle.Until()); now.Before(end); now = time.Now() {
		for range spinsPerClock {
			if err := s.pollNow(w); w.n > 0 || err != nil {
				idle.Hit(now)
				s.Yield(w.n)
				return true, err
			}
			if s.Notified() {
				idle.Hit(now)
				return false, nil
			}
		}
		if s.blocked.Load() > 0 {
			idle.Drop(now) // an event would wake the sleeper as well
			return false, nil
		}
	}
	idle.Expire(now)
	return false, nil
}
