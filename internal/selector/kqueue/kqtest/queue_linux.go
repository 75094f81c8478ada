package kqtest

import (
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
)

// queue is a kqueue. Each filter has its own edge-triggered epoll set, so that
// incoming data is not taken for writability. A fourth set contains these three;
// Go's poller watches it for the pump, the goroutine that takes the place of a
// real kernel's interrupts. The pump and each kevent(2) collect events from the
// sets, under the lock, so that a call sees all activity before it.
type queue struct {
	kernel   *Kernel
	fd       sys.FD // of the fourth set
	file     *os.File
	pumpDone chan struct{} // closed when the pump has returned

	mu       sync.Mutex
	sets     [filters]sys.FD
	knotes   map[name]*knote
	spare    []*knote
	ready    []*knote // active, not disabled, in order
	pipes    []*knote // see countsBytes
	sleepers []*sleeper
	idle     sync.Pool // of *sleeper
	buffer   [64]sys.EpollEvent
	sleeps   int // for Interrupts
	levels   int // for LevelWakes
	waiting  int // calls that sleep
	closed   bool
}

// filters is how many filters watch descriptors, from FilterRead on.
const filters = 3

type sleeper struct {
	woken chan struct{} // capacity 1
	timer *time.Timer
}

var epollEvents = [filters]uint32{
	sys.EPOLLIN | sys.EPOLLRDHUP | sys.EPOLLET,
	sys.EPOLLOUT | sys.EPOLLET,
	sys.EPOLLPRI | sys.EPOLLET,
}

func newQueue(k *Kernel) (*queue, syscall.Errno) {
	q := &queue{kernel: k, knotes: make(map[name]*knote), pumpDone: make(chan struct{})}
	q.idle.New = func() any {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return &sleeper{make(chan struct{}, 1), t}
	}
	var all [filters + 1]sys.FD
	for i := range all {
		fd, e := sys.EpollCreate()
		if e != 0 {
			for _, made := range all[:i] {
				sys.Close(made)
			}
			return nil, e
		}
		all[i] = fd
	}
	copy(q.sets[:], all[:])
	q.fd = all[filters]
	for _, set := range q.sets {
		ev := sys.MakeEpollEvent(sys.EPOLLIN, 0)
		sys.EpollCtl(q.fd, sys.EPOLL_CTL_ADD, set, &ev)
	}
	sys.SetNonblock(q.fd)
	q.file = os.NewFile(uintptr(q.fd), "kqueue")
	raw, err := q.file.SyscallConn()
	if err != nil {
		panic(err)
	}
	go q.pump(raw)
	return q, 0
}

// pump collects activity until the queue is closed.
func (q *queue) pump(raw syscall.RawConn) {
	defer close(q.pumpDone)
	raw.Read(func(uintptr) bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.closed {
			q.collect()
		}
		return false // park until there is more; closing the file ends Read
	})
}

// close closes the queue and returns how many calls were waiting.
func (q *queue) close() int {
	q.mu.Lock()
	q.closed = true
	n := q.waiting
	q.mu.Unlock()
	q.file.Close()
	<-q.pumpDone
	for _, set := range q.sets {
		sys.Close(set)
	}
	return n
}

// collect activates the knotes for which epoll has events.
func (q *queue) collect() {
	for i, set := range q.sets {
		for range maxPolls {
			n, _ := sys.EpollPoll(set, q.buffer[:])
			for j := range q.buffer[:n] {
				q.handle(name{q.buffer[j].Data(), kqueue.FilterRead + kqueue.Filter(i)})
			}
			if n < len(q.buffer) {
				break
			}
		}
	}
	q.checkPipes()
}

// checkPipes implements ExtraPipeEdges: a pipe that holds fewer bytes than before has been
// read in part, one that holds more has been written to.
func (q *queue) checkPipes() {
	for _, kn := range q.pipes {
		n := unreadBytes(sys.FD(kn.ident))
		if kn.filter == kqueue.FilterRead && n < kn.unread && n > 0 || kn.filter == kqueue.FilterWrite && n > kn.unread {
			q.activate(kn)
		}
		kn.unread = n
	}
}

// unreadBytes returns the number of bytes that can be read, or 0 if the file has no such number.
func unreadBytes(fd sys.FD) int {
	n, _ := sys.UnreadBytes(fd)
	return n
}

// maxPolls bounds how often collect polls a set.
const maxPolls = 1 << 10

// handle handles an event of epoll.
func (q *queue) handle(id name) {
	kn := q.knotes[id]
	if kn == nil {
		return
	}
	q.activate(kn)
	if q.kernel.AckEdges == 0 || id.filter != kqueue.FilterRead || kn.kind != "socket" {
		return
	}
	other := q.knotes[name{id.ident, kqueue.FilterWrite}]
	if other == nil || other.flags&kqueue.FlagClear == 0 {
		return
	}
	if other.acks += q.kernel.AckEdges; other.acks >= 10 {
		other.acks -= 10
		q.activate(other)
	}
}

// activate activates and queues a knote if it is ready (KNOTE in the kernels).
func (q *queue) activate(kn *knote) {
	if !kn.check().ready {
		return
	}
	kn.active = true
	q.enqueue(kn)
}

func (q *queue) enqueue(kn *knote) {
	if kn.disabled || kn.queued {
		return
	}
	kn.queued = true
	q.ready = append(q.ready, kn)
	// With SilentRequeue, sleepers that check while another call has taken the
	// level-triggered knote sleep again: so it reaches some of them, at least one.
	if q.kernel.Flavour.Traits.SilentRequeue && kn.isLevel() {
		q.wake(1 + q.levels%max(q.kernel.LevelWakes, 1))
		q.levels++
		return
	}
	q.wake(len(q.sleepers))
}

func (q *queue) wake(n int) {
	for _, s := range q.sleepers[:min(n, len(q.sleepers))] {
		s.woken <- struct{}{}
	}
	rest := copy(q.sleepers, q.sleepers[min(n, len(q.sleepers)):])
	q.sleepers = q.sleepers[:rest]
}

// scan is the second half of kevent(2): it takes events, and sleeps until there are some.
func (q *queue) scan(events []kqueue.Kevent, timeout *kqueue.Timespec) (int, syscall.Errno) {
	if len(events) == 0 {
		return 0, 0
	}
	var deadline time.Time
	if timeout != nil {
		deadline = time.Now().Add(q.rounded(timeout))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return 0, syscall.EBADF
		}
		q.collect()
		if n := q.take(events); n > 0 {
			return n, 0
		}
		if timeout != nil && *timeout == (kqueue.Timespec{}) {
			return 0, 0
		}
		if q.sleeps++; q.kernel.Interrupts > 0 && q.sleeps%q.kernel.Interrupts == 0 {
			return 0, syscall.EINTR
		}
		if !q.sleep(timeout == nil, deadline) {
			return 0, 0
		}
	}
}

// rounded returns the timeout rounded up to ticks of the kernel's clock, plus one
// tick, because the current one has begun already.
func (q *queue) rounded(t *kqueue.Timespec) time.Duration {
	d := time.Duration(t.Sec)*time.Second + time.Duration(t.Nsec)
	tick := q.kernel.Tick
	if tick == 0 || d == 0 {
		return d
	}
	return (d+tick-1)/tick*tick + tick
}

// sleep releases the lock until the caller is woken or the deadline has passed. It
// returns false at the deadline.
func (q *queue) sleep(forever bool, deadline time.Time) bool {
	s := q.idle.Get().(*sleeper)
	defer q.idle.Put(s)
	q.sleepers = append(q.sleepers, s)
	q.waiting++
	q.mu.Unlock()
	if forever {
		<-s.woken
		q.mu.Lock()
		q.waiting--
		return true
	}
	s.timer.Reset(time.Until(deadline))
	defer s.timer.Stop()
	select {
	case <-s.woken:
		q.mu.Lock()
		q.waiting--
		return true
	case <-s.timer.C:
	}
	q.mu.Lock()
	q.waiting--
	for i, other := range q.sleepers {
		if other == s {
			q.sleepers = append(q.sleepers[:i], q.sleepers[i+1:]...)
			return false
		}
	}
	<-s.woken // woken while the timer fired
	return true
}

// take fills events with the knotes that are ready now, and returns their number.
func (q *queue) take(events []kqueue.Kevent) int {
	n, level := 0, false
	for range len(q.ready) {
		if n == len(events) || len(q.ready) == 0 {
			break
		}
		kn := q.ready[0]
		rest := copy(q.ready, q.ready[1:])
		q.ready = q.ready[:rest]
		kn.queued = false
		if q.isClosed(kn) {
			q.drop(kn)
			continue
		}
		now := kn.check()
		oneshot := kn.flags&kqueue.FlagOneshot != 0
		if !now.ready && !(oneshot && q.kernel.StaleOneshot) {
			kn.active = false
			continue
		}
		events[n] = kn.event(now, q.kernel.EventsHaveAdd)
		n++
		level = q.delivered(kn) || level
	}
	if level && !q.kernel.Flavour.Traits.SilentRequeue {
		q.wake(len(q.sleepers))
	}
	return n
}

// delivered clears, disables, detaches or requeues a delivered knote, depending on
// its mode. It reports whether the knote was requeued.
func (q *queue) delivered(kn *knote) bool {
	clear := kn.flags&kqueue.FlagClear != 0
	switch {
	case kn.flags&kqueue.FlagOneshot != 0:
		q.detachOneshot(kn)
	case clear && (q.kernel.ClearBeatsDispatch || kn.flags&kqueue.FlagDispatch == 0):
		kn.active, kn.triggered = false, false
	case kn.flags&kqueue.FlagDispatch != 0:
		kn.active, kn.disabled = false, true
	default:
		kn.queued = true
		q.ready = append(q.ready, kn)
		return true
	}
	return false
}

// detachOneshot detaches an EV_ONESHOT knote that has been delivered. With OneshotRace it
// first unlocks the queue for a moment, as NetBSD's kqueue_scan did before 1.140 of
// kern_event.c.
func (q *queue) detachOneshot(kn *knote) {
	if q.kernel.OneshotRace {
		kn.taken++
		q.mu.Unlock()
		q.kernel.Detaching()
		q.mu.Lock()
		kn.taken--
		if kn.freed {
			q.kernel.Fault("an EV_ONESHOT knote was freed twice")
			return
		}
	}
	q.drop(kn)
}
