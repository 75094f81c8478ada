package uring

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// sleep is how a turn waits, and how it is woken.
//
// A turn first enters the ring by a raw call that does not wait; under load that is the only
// one. If there is no completion, it blocks its thread in a second call. Parking the goroutine
// in Go's poller instead, as the queue does, was measured too: it needs two thread switches to
// return to the ring's thread (docs/performance.md).
//
// The order of the stores prevents lost wake-ups: a turn sets asleep before it reads notified
// for the last time, and Wake reads asleep after it has set notified.
type sleep struct {
	spin.Governor
	eventfd  sys.FD
	asleep   atomic.Bool
	notified atomic.Bool
	closing  bool

	mu     sync.Mutex // guards closed, and eventfd against being closed
	closed bool

	sinceYield int
}

// yieldEvery is after how many completions other goroutines may run. Raw calls make a busy
// loop invisible to Go's scheduler; to yield a locked thread costs two thread switches
// (docs/performance.md has the trade-off).
const yieldEvery = 128

func (p *sleep) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	sys.Close(p.eventfd)
}

// Wake implements driver.Driver.
func (d *Driver) Wake() error {
	p := &d.sleep
	if p.notified.Swap(true) || !p.asleep.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	if e := sys.EventfdAdd(p.eventfd); e != 0 {
		return os.NewSyscallError("write", e)
	}
	return nil
}

// armWake polls the eventfd, so that each write to it makes a completion. Nothing reads the
// eventfd: the poll reports every write, and the counter does not reach its maximum.
func (d *Driver) armWake() {
	if !d.sleep.closing {
		d.begin(opWake, 0).SetPoll(d.sleep.eventfd, sys.POLLIN, sys.IORING_POLL_ADD_MULTI)
	}
}

// isTransient reports whether the error of an operation or of entering the ring is transient: a
// signal, a timeout, a cancellation, or completions that must be handled first.
func isTransient(e syscall.Errno) bool {
	switch e {
	case syscall.EINTR, syscall.ETIME, syscall.EAGAIN, syscall.EBUSY, syscall.ECANCELED:
		return true
	}
	return false
}

// enter submits the operations begun, and waits until there is a completion, or a wake-up, or
// timeout has passed.
func (d *Driver) enter(timeout time.Duration) error {
	p := &d.sleep
	p.yield()
	if d.hasCompletions() {
		timeout = 0
	}
	if timeout != 0 || d.mustEnter() {
		e := d.submitQueue(sys.IORING_ENTER_GETEVENTS)
		d.noteSubmitted()
		if e != 0 && !isTransient(e) {
			return os.NewSyscallError("io_uring_enter", e)
		}
	}
	if timeout == 0 || d.hasCompletions() {
		return nil
	}
	idle := p.Begin(true)
	if idle.Spins() && d.spin(&timeout, &idle) {
		return nil
	}
	err := d.block(timeout)
	idle.Slept()
	return err
}

// block blocks the thread until there is a completion, or a wake-up, or timeout has passed.
func (d *Driver) block(timeout time.Duration) error {
	p := &d.sleep
	p.asleep.Store(true)
	defer p.asleep.Store(false)
	if p.notified.Load() {
		return nil
	}
	p.sinceYield = 0
	if e := d.ring.Wait(timeout); e != 0 && !isTransient(e) {
		return os.NewSyscallError("io_uring_enter", e)
	}
	return nil
}

// maxRawBytes is how much a raw call sends at most: copying that takes about 0.3 ms, during
// which a garbage collection may have to wait.
const maxRawBytes = 1 << 20

// submitQueue submits the operations begun, by one system call.
func (d *Driver) submitQueue(flags uint32) syscall.Errno {
	long := d.sendBytes > maxRawBytes
	d.sendBytes = 0
	if long {
		return d.ring.SubmitLong(flags)
	}
	return d.ring.Submit(flags)
}

func (d *Driver) hasCompletions() bool {
	first, end := d.ring.Ready()
	return first != end
}

// mustEnter reports whether there are submissions, or work that the kernel does only when the
// ring is entered.
func (d *Driver) mustEnter() bool {
	return d.ring.Pending() > 0 || d.ring.SQFlags()&(sys.IORING_SQ_TASKRUN|sys.IORING_SQ_CQ_OVERFLOW) != 0
}

func (p *sleep) yield() {
	if p.sinceYield >= yieldEvery {
		p.sinceYield = 0
		p.Gosched()
	}
}

// spin polls for completions, without system calls, until idle or timeout ends it. It subtracts
// the time spent from timeout, and reports whether the turn need not sleep.
func (d *Driver) spin(timeout *time.Duration, idle *spin.Idle) bool {
	began := time.Now()
	end := idle.Until()
	if *timeout > 0 && began.Add(*timeout).Before(end) {
		end = began.Add(*timeout)
	}
	now := began
	for ; now.Before(end); now = time.Now() {
		for range spinsPerClock {
			if d.sleep.notified.Load() {
				idle.Hit(now)
				return true
			}
			if d.ring.SQFlags()&(sys.IORING_SQ_TASKRUN|sys.IORING_SQ_CQ_OVERFLOW) != 0 {
				d.ring.Submit(sys.IORING_ENTER_GETEVENTS)
			}
			if d.hasCompletions() {
				idle.Hit(now)
				return true
			}
		}
	}
	idle.Expire(now)
	if *timeout > 0 {
		*timeout = max(*timeout-now.Sub(began), 0)
	}
	if *timeout == 0 {
		idle.Slept() // Expire does not end the idle period
	}
	return *timeout == 0
}

// spinsPerClock is how many times spin polls between two readings of the clock.
const spinsPerClock = 16
