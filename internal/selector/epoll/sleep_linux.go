package epoll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// How a Wait sleeps.
//
// An epoll descriptor can itself be polled, so a waiter can park its goroutine
// in Go's poller until the queue has an event, instead of blocking a thread in
// epoll_wait: an event needs no handover between threads, and a sleeping waiter
// no thread (docs/performance.md has the figures). Go's poller parks one reader
// per file, so one waiter leads: it parks there. The others follow: each sleeps
// on a channel of its own. A leader that leaves makes a follower the next leader,
// which polls the queue before it parks, so it finds the events that the first
// has left.
//
// Go's timers may be late by one or two milliseconds. A waiter with a deadline
// therefore stops parking tailTime before it, and blocks its thread in
// epoll_pwait2 for the rest, which the kernel times in nanoseconds.
//
// Notify sets a notice, then wakes a waiter: the leader, by a read deadline in
// the past, which needs no system call; without a leader, a blocked thread, by
// wakefd. The order of the stores makes this safe: a sleeper marks itself asleep
// (leading, blocked) before it checks for a notice for the last time, and Notify
// looks for a sleeper after it has set one. A leader clears an old deadline before
// that check, so the deadline it clears belongs to a notice that it is about to
// see.
type sleepers struct {
	file   *os.File // epfd in Go's poller; nil if waiters block their threads
	raw    syscall.RawConn
	try    func(fd uintptr) bool
	wakefd sys.FD

	selector.Notices
	leading atomic.Bool // the leader is parked, or about to be
	blocked atomic.Int32

	// Only the leader uses these.
	lead    *wait // its own
	n       int   // what try has found
	errno   syscall.Errno
	armed   time.Time // the file's read deadline, unless a notice has changed it
	expired bool      // that deadline has passed

	mu        sync.Mutex
	hasLeader bool
	followers []*follower // the last leads next: its stack is the warmest
	spare     sync.Pool   // of *follower
}

// tailTime is how long before its deadline a waiter stops relying on Go's
// timers: they are rounded to the millisecond, and run when a thread gets to it.
const tailTime = 2 * time.Millisecond

type follower struct {
	turn  chan struct{} // capacity 1: receives when the follower becomes the leader
	timer *time.Timer
}

var longAgo = time.Unix(1, 0)

func (p *sleepers) init(s *Selector) error {
	p.wakefd = s.wakefd
	p.spare.New = func() any {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return &follower{turn: make(chan struct{}, 1), timer: t}
	}
	if s.config.BlockThread {
		return nil
	}
	if e := sys.SetNonblock(s.epfd); e != 0 {
		return os.NewSyscallError("fcntl", e)
	}
	p.file = os.NewFile(uintptr(s.epfd), "epoll")
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		// The error hides the cause: epoll_ctl(2) was out of memory or of watches.
		return fmt.Errorf("add the epoll descriptor to Go's poller: %w: raise fs.epoll.max_user_watches, or use the option BlockThread: %w", err, syscall.ENOSPC)
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	p.raw = raw
	p.try = func(fd uintptr) bool {
		if p.Notified() {
			return true
		}
		p.n, p.errno = sys.EpollPoll(sys.FD(fd), p.lead.buffer())
		return p.n > 0 || p.errno != 0
	}
	return nil
}

func (p *sleepers) closeQueue(epfd sys.FD) error {
	if p.file != nil {
		return p.file.Close()
	}
	sys.Close(epfd)
	return nil
}

// Notify implements selector.Selector.
func (s *Selector) Notify() error {
	if !s.sleep.Notify() {
		return nil
	}
	err := s.sleep.wake()
	if err != nil {
		s.sleep.WakeFailed()
	}
	return err
}

// NotifyAll implements selector.Selector. Each waiter that leaves wakes the next.
func (s *Selector) NotifyAll() error {
	s.sleep.NotifyAll()
	return errors.Join(s.sleep.wake(), s.sleep.wakeBlocked())
}

// anyAsleep reports whether a waiter sleeps, or is about to.
func (p *sleepers) anyAsleep() bool { return p.leading.Load() || p.blocked.Load() > 0 }

func (p *sleepers) wake() error {
	if p.leading.Load() {
		return p.file.SetReadDeadline(longAgo)
	}
	return p.wakeBlocked()
}

func (p *sleepers) wakeBlocked() error {
	if p.blocked.Load() == 0 {
		return nil
	}
	if e := sys.EventfdAdd(p.wakefd); e != 0 {
		return os.NewSyscallError("write", e)
	}
	return nil
}

// sleepUntilDone sleeps until something is ready, there is a notice, or w's deadline has
// passed.
func (s *Selector) sleepUntilDone(w *wait) (int, error) {
	if s.sleep.file == nil {
		return s.block(w)
	}
	for {
		if !s.sleep.follow(w) {
			return s.block(w)
		}
		n, err, done := s.park(w)
		s.sleep.resign()
		if done {
			return n, err
		}
		if !w.Forever && w.Left() <= tailTime {
			return s.block(w)
		}
	}
}

// follow waits until the caller leads. It returns false when tailTime or less is
// left until w's deadline.
func (p *sleepers) follow(w *wait) bool {
	if !w.Forever && w.Left() <= tailTime {
		return false
	}
	p.mu.Lock()
	if !p.hasLeader {
		p.hasLeader = true
		p.mu.Unlock()
		return true
	}
	f := p.spare.Get().(*follower)
	p.followers = append(p.followers, f)
	p.mu.Unlock()
	defer p.spare.Put(f)

	if w.Forever {
		<-f.turn
		return true
	}
	f.timer.Reset(w.Left() - tailTime)
	defer f.timer.Stop()
	select {
	case <-f.turn:
		return true
	case <-f.timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.followers {
		if other == f {
			p.followers = append(p.followers[:i], p.followers[i+1:]...)
			return false
		}
	}
	<-f.turn // made the leader while the timer fired
	return true
}

// resign ends the caller's lead and makes a follower the leader, if there is one.
func (p *sleepers) resign() {
	p.mu.Lock()
	if n := len(p.followers); n > 0 {
		f := p.followers[n-1]
		p.followers = p.followers[:n-1]
		p.mu.Unlock()
		f.turn <- struct{}{}
		return
	}
	p.hasLeader = false
	p.mu.Unlock()
	if p.Notified() {
		p.wakeBlocked()
	}
}

// park sleeps as the leader, in Go's poller. done is false if Wait must not
// return yet: park ended tailTime before the deadline, or found no event.
func (s *Selector) park(w *wait) (n int, err error, done bool) {
	p := &s.sleep
	var until time.Time
	if !w.Forever {
		until = w.At.Add(-tailTime)
	}
	p.lead, p.n, p.errno = w, 0, 0
	p.leading.Store(true)
	if p.mustArm(until) {
		p.arm(until)
	}
	for {
		err = p.raw.Read(p.try)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		err = nil
		if p.expired = !until.IsZero() && !time.Now().Before(until); p.expired {
			break
		}
		p.arm(until)
	}
	p.leading.Store(false)
	p.lead = nil
	switch {
	case err != nil:
		return 0, err, true
	case p.errno != 0:
		return 0, os.NewSyscallError("epoll_pwait", p.errno), true
	}
	if n = s.translate(w, p.n); n > 0 {
		return n, nil, true
	}
	return 0, nil, p.TakeNotice()
}

// mustArm reports whether the file's read deadline must be changed. An earlier
// one may stay: one needless wake-up costs less than setting each deadline.
func (p *sleepers) mustArm(until time.Time) bool {
	if p.expired {
		return true
	}
	return !until.IsZero() && (p.armed.IsZero() || p.armed.After(until))
}

// arm sets the file's read deadline, or clears it. Only the leader may call it.
func (p *sleepers) arm(until time.Time) {
	p.file.SetReadDeadline(until)
	p.armed, p.expired = until, false
}

// block sleeps in the kernel and blocks the thread.
func (s *Selector) block(w *wait) (int, error) {
	p := &s.sleep
	for {
		p.blocked.Add(1)
		if p.Notified() {
			p.blocked.Add(-1)
			p.TakeNotice()
			return 0, nil
		}
		k, e := sys.EpollWait(s.epfd, w.buffer(), w.Left())
		p.blocked.Add(-1)
		if e != 0 && e != syscall.EINTR {
			return 0, os.NewSyscallError("epoll_wait", e)
		}
		n := s.translate(w, k)
		if n > 0 || p.TakeNotice() || w.Left() == 0 {
			return n, nil
		}
	}
}
