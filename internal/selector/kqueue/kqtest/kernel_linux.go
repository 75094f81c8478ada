package kqtest

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
)

// Kernel is a model kernel. It implements kqueue.Kernel.
type Kernel struct {
	Flavour

	// Fault is called for what no program may do, such as closing a kqueue that has
	// waiters (on FreeBSD the waiter keeps sleeping, on NetBSD close waits for it),
	// and for what crashes the kernel. The default panics.
	Fault func(string)
	// Detaching is called between taking and detaching of OneshotRace, with no lock
	// held. The default sleeps for detachDelay.
	Detaching func()

	mu     sync.Mutex
	queues map[sys.FD]*queue
}

// detachDelay is long, to make the race likely.
const detachDelay = 50 * time.Microsecond

var _ kqueue.Kernel = (*Kernel)(nil)

// New returns a model kernel of the flavour.
func New(f Flavour) *Kernel {
	return &Kernel{
		Flavour: f,
		Fault:   func(what string) { panic("kqtest: " + what) },
		queues:  make(map[sys.FD]*queue),

		Detaching: func() { time.Sleep(detachDelay) },
	}
}

// Traits implements kqueue.Kernel.
func (k *Kernel) Traits() kqueue.Traits { return k.Flavour.Traits }

// FileKind implements kqueue.Kernel.
func (k *Kernel) FileKind(fd sys.FD) string { return sys.FileKind(fd) }

// WakePipe implements kqueue.Kernel.
func (k *Kernel) WakePipe() (r, w sys.FD, e syscall.Errno) {
	if r, w, e = sys.Pipe(); e != 0 {
		return r, w, e
	}
	_, e = sys.Write(w, []byte{0})
	return r, w, e
}

// Kqueue implements kqueue.Kernel.
func (k *Kernel) Kqueue() (sys.FD, syscall.Errno) {
	q, e := newQueue(k)
	if e != 0 {
		return sys.InvalidFD, e
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queues[q.fd] = q
	return q.fd, 0
}

// Close implements kqueue.Kernel.
func (k *Kernel) Close(fd sys.FD) syscall.Errno {
	k.mu.Lock()
	q := k.queues[fd]
	delete(k.queues, fd)
	k.mu.Unlock()
	if q == nil {
		return sys.Close(fd)
	}
	if n := q.close(); n > 0 {
		k.Fault(fmt.Sprintf("a kqueue was closed while it had %d waiters", n))
	}
	return 0
}

// Open returns how many kqueues are open.
func (k *Kernel) Open() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.queues)
}

// Kevent implements kqueue.Kernel: kevent(2).
func (k *Kernel) Kevent(kq sys.FD, changes, events []kqueue.Kevent, timeout *kqueue.Timespec) (int, syscall.Errno) {
	k.mu.Lock()
	q := k.queues[kq]
	k.mu.Unlock()
	if q == nil {
		return 0, syscall.EBADF
	}
	if timeout != nil && (timeout.Sec < 0 || timeout.Nsec < 0 || timeout.Nsec >= 1e9) {
		return 0, syscall.EINVAL
	}
	receipts, done, e := q.change(changes, events)
	if e != 0 || done {
		return receipts, e
	}
	return q.scan(events, timeout)
}
