// Package epoll reports readiness by Linux's epoll(7).
//
// One epoll descriptor is the whole queue: the kernel implements edge, level and
// oneshot, so sources need not call Rearm. The rest of the package is about how a Wait
// sleeps. It first polls the kernel without sleeping, by a raw system call. If there is
// nothing, one waiter parks its goroutine in Go's own poller, which watches the epoll
// descriptor, and the others queue up behind it; for the last two milliseconds before a
// deadline it blocks in epoll_pwait2, which is exact. sleep_linux.go has the protocol, and
// docs/model/sleep.pml its model.
package epoll

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Selector is an epoll descriptor and its waiters, the calls of Wait on it.
type Selector struct {
	epfd   sys.FD
	wakefd sys.FD // an eventfd in the set, for waiters that block in the kernel
	config selector.Config

	waits sync.Pool // of *wait
	selector.Pacer
	sleep sleepers
}

// maxBatch is how many events one call takes from the kernel.
const maxBatch = 512

// wakeKey is the key of wakefd; no registration has it.
const wakeKey = ^uint64(0)

// Open returns an empty selector.
func Open(config selector.Config) (*Selector, error) {
	epfd, e := sys.EpollCreate()
	if e != 0 {
		return nil, os.NewSyscallError("epoll_create1", e)
	}
	wakefd, e := sys.Eventfd()
	if e != 0 {
		sys.Close(epfd)
		return nil, os.NewSyscallError("eventfd", e)
	}
	ev := sys.MakeEpollEvent(sys.EPOLLIN|sys.EPOLLET, wakeKey)
	if e := sys.EpollCtl(epfd, sys.EPOLL_CTL_ADD, wakefd, &ev); e != 0 {
		sys.Close(wakefd)
		sys.Close(epfd)
		return nil, os.NewSyscallError("epoll_ctl", e)
	}
	s := &Selector{epfd: epfd, wakefd: wakefd, config: config}
	s.waits.New = func() any { return new(wait) }
	s.Init(config.BusyPoll, !config.BlockThread)
	if err := s.sleep.init(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Spin implements selector.Selector.
func (s *Selector) Spin() spin.Stats { return s.Stats() }

// Close releases the descriptors. No other call on s may be running.
func (s *Selector) Close() error {
	sys.Close(s.wakefd)
	return s.sleep.closeQueue(s.epfd)
}

// Add implements selector.Selector.
func (s *Selector) Add(fd sys.FD, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	ev := sys.MakeEpollEvent(bits(interest, trigger), uint64(key))
	e := sys.EpollCtl(s.epfd, sys.EPOLL_CTL_ADD, fd, &ev)
	switch {
	case e == 0:
		return nil
	case e == syscall.EEXIST:
		return selector.ErrExists
	case sys.IsNotPollable(e):
		return fmt.Errorf("%s: %w", sys.FileKind(fd), selector.ErrNotPollable)
	}
	return os.NewSyscallError("epoll_ctl", e)
}

// Modify implements selector.Selector. EPOLL_CTL_MOD checks the readiness
// again, so existing readiness is reported under the new key.
func (s *Selector) Modify(fd sys.FD, _, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	ev := sys.MakeEpollEvent(bits(interest, trigger), uint64(key))
	if e := sys.EpollCtl(s.epfd, sys.EPOLL_CTL_MOD, fd, &ev); e != 0 {
		return os.NewSyscallError("epoll_ctl", e)
	}
	return nil
}

// Delete implements selector.Selector.
func (s *Selector) Delete(fd sys.FD, _ selector.Key) error {
	var ev sys.EpollEvent // Linux before 2.6.9 requires one (epoll_ctl(2), bugs)
	if e := sys.EpollCtl(s.epfd, sys.EPOLL_CTL_DEL, fd, &ev); e != 0 {
		return os.NewSyscallError("epoll_ctl", e)
	}
	return nil
}

// NeedsRearm implements selector.Selector: the kernel tracks the edges.
func (s *Selector) NeedsRearm() bool { return false }

// WritableIsFree implements selector.Selector: Linux reports a TCP stream writable only after a
// send would have blocked (SOCK_NOSPACE).
func (s *Selector) WritableIsFree() bool { return true }

// Rearm implements selector.Selector.
func (s *Selector) Rearm(sys.FD, selector.Key, selector.Interest) {}

func bits(interest selector.Interest, trigger selector.Trigger) uint32 {
	b := selector.EpollEvents(interest)
	if trigger&selector.Level == 0 {
		b |= sys.EPOLLET
	}
	if trigger&selector.Oneshot != 0 {
		b |= sys.EPOLLONESHOT
	}
	return b
}

// A wait is one call of Wait.
type wait struct {
	selector.Deadline
	kernel [maxBatch]sys.EpollEvent
	events []selector.Event
}

// buffer returns the buffer for the kernel's events, as long as w.events at most.
func (w *wait) buffer() []sys.EpollEvent { return w.kernel[:min(len(w.events), maxBatch)] }

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
	n, err := s.pollNow(w)
	if n > 0 || err != nil || timeout == 0 {
		s.Yield(n)
		return n, err
	}
	w.SetTimeout(timeout)
	idle := s.Begin(!s.sleep.anyAsleep())
	if idle.Spins() {
		if n, err := s.spin(w, &idle); n > 0 || err != nil {
			return n, err
		}
	}
	n, err = s.sleepUntilDone(w)
	idle.Slept()
	return n, err
}

// pollNow collects what is ready now, without sleeping. It polls a second time if a wake-up
// was all that the first call returned: the wake-up may have taken the place of an event.
func (s *Selector) pollNow(w *wait) (int, error) {
	for range 2 {
		k, e := sys.EpollPoll(s.epfd, w.buffer())
		if e != 0 {
			return 0, os.NewSyscallError("epoll_pwait", e)
		}
		if n := s.translate(w, k); n == k || n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

// translate converts the first k kernel events in w to events and returns their
// number. A wake-up is not an event. It may have been meant for another waiter
// that still blocks, so it is passed on while the notice is set.
func (s *Selector) translate(w *wait, k int) int {
	n := 0
	for i := range w.kernel[:k] {
		ev := &w.kernel[i]
		data := ev.Data()
		if data == wakeKey {
			if s.sleep.Notified() {
				sys.EventfdAdd(s.wakefd)
			}
			continue
		}
		w.events[n] = selector.Event{Key: selector.Key(data), Flags: selector.EpollFlags(ev.Events())}
		n++
	}
	return n
}

// spin polls until something is ready, there is a notice, or idle or w's deadline ends it.
func (s *Selector) spin(w *wait, idle *spin.Idle) (int, error) {
	now := time.Now()
	for end := w.Earlier(idle.Until()); now.Before(end); now = time.Now() {
		for range spinsPerClock {
			n, err := s.pollNow(w)
			if n > 0 || err != nil || s.sleep.Notified() {
				idle.Hit(now)
				s.Yield(n)
				return n, err
			}
		}
		if s.sleep.anyAsleep() {
			idle.Drop(now) // an event would wake the sleeper as well
			return 0, nil
		}
	}
	idle.Expire(now)
	return 0, nil
}

// spinsPerClock is how often spin polls the kernel between two readings of the
// clock: both cost about 0.1 µs.
const spinsPerClock = 4

// Note describes which system calls are used, as text for people.
func Note() string {
	if sys.HasEpollPwait2() {
		return "epoll(7); timeouts in nanoseconds by epoll_pwait2"
	}
	return "epoll(7); timeouts in milliseconds, for epoll_pwait2 (Linux 5.11) is missing or refused"
}
