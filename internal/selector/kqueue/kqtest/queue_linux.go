package kqtest

import (
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
)

// queue is a kqueue. There is one epoll set for each filter, edge-triggered, for
// what happens to a descriptor: data that comes in must not look like room to
// write. A fourth set holds these three; Go's poller watches it for the pump,
// the goroutine that stands for the interrupts of a real kernel. What has
// happened is taken in under the lock only, by the pump or by whoever asks
// first, so that a call sees all that came before it.
type queue struct {
	kernel *Kernel
	fd     sys.FD // of the fourth set
	file   *os.File
	pumped chan struct{} // closed when the pump has ended

	mu       sync.Mutex
	sets     [filters]sys.FD
	knotes   map[name]*knote
	spare    []*knote
	ready    []*knote // active, not disabled, in order
	pipes    []*knote // those that count bytes
	sleepers []*sleeper
	idle     sync.Pool // of *sleeper
	buffer   [64]sys.EpollEvent
	sleeps   int // for Interrupts
	levels   int // for LevelWakes
	inside   int // calls that wait
	closed   bool
}

// filters is how many filters watch descriptors, from FilterRead on.
const filters = 3

type sleeper struct {
	woken chan struct{} // of one
	timer *time.Timer
}

var happenings = [filters]uint32{
	sys.EPOLLIN | sys.EPOLLRDHUP | sys.EPOLLET,
	sys.EPOLLOUT | sys.EPOLLET,
	sys.EPOLLPRI | sys.EPOLLET,
}

func newQueue(k *Kernel) (*queue, syscall.Errno) {
	q := &queue{kernel: k, knotes: make(map[name]*knote), pumped: make(chan struct{})}
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

// pump takes in what happens until the queue is closed.
func (q *queue) pump(raw syscall.RawConn) {
	defer close(q.pumped)
	raw.Read(func(uintptr) bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.closed {
			q.takeIn()
		}
		return false // and park until more happens; the file's closing ends it
	})
}

// close returns how many were waiting.
func (q *queue) close() int {
	q.mu.Lock()
	q.closed = true
	n := q.inside
	q.mu.Unlock()
	q.file.Close()
	<-q.pumped
	for _, set := range q.sets {
		sys.Close(set)
	}
	return n
}

// takeIn activates the knotes of descriptors to which something has happened.
func (q *queue) takeIn() {
	for i, set := range q.sets {
		for range takeInMost {
			n, _ := sys.EpollPoll(set, q.buffer[:])
			for j := range q.buffer[:n] {
				q.happened(name{q.buffer[j].Data(), kqueue.FilterRead + kqueue.Filter(i)})
			}
			if n < len(q.buffer) {
				break
			}
		}
	}
	q.countPipes()
}

// countPipes fires what ExtraPipeEdges says: a pipe that holds less has been read in part,
// one that holds more has been written to.
func (q *queue) countPipes() {
	for _, kn := range q.pipes {
		n := sys.Unread(sys.FD(kn.ident))
		if kn.filter == kqueue.FilterRead && n < kn.unread && n > 0 || kn.filter == kqueue.FilterWrite && n > kn.unread {
			q.tell(kn)
		}
		kn.unread = n
	}
}

// takeInMost bounds a round of takeIn, in buffers of events.
const takeInMost = 1 << 10

func (q *queue) happened(id name) {
	kn := q.knotes[id]
	if kn == nil {
		return
	}
	q.tell(kn)
	if q.kernel.AckEdges == 0 || id.filter != kqueue.FilterRead || kn.kind != "socket" {
		return
	}
	other := q.knotes[name{id.ident, kqueue.FilterWrite}]
	if other == nil || other.flags&kqueue.FlagClear == 0 {
		return
	}
	if other.acks += q.kernel.AckEdges; other.acks >= 10 {
		other.acks -= 10
		q.tell(other)
	}
}

// tell activates a knote that is ready (KNOTE in the kernels).
func (q *queue) tell(kn *knote) {
	if !kn.look().ready {
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
	// Where a level-triggered knote is put back silently, sleepers that look while
	// another has it in hand go back to sleep: so it reaches some, one at least.
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

// scan is the second half of kevent(2): it takes events, and sleeps for them.
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
		q.takeIn()
		if n := q.harvest(events); n > 0 {
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

// rounded is the timeout in ticks of the kernel's clock, and one more, for the
// first has begun already.
func (q *queue) rounded(t *kqueue.Timespec) time.Duration {
	d := time.Duration(t.Sec)*time.Second + time.Duration(t.Nsec)
	tick := q.kernel.Tick
	if tick == 0 || d == 0 {
		return d
	}
	return (d+tick-1)/tick*tick + tick
}

// sleep gives up the lock until somebody wakes the caller, or the deadline. It
// returns false at the deadline.
func (q *queue) sleep(forever bool, deadline time.Time) bool {
	s := q.idle.Get().(*sleeper)
	defer q.idle.Put(s)
	q.sleepers = append(q.sleepers, s)
	q.inside++
	q.mu.Unlock()
	if forever {
		<-s.woken
		q.mu.Lock()
		q.inside--
		return true
	}
	s.timer.Reset(time.Until(deadline))
	defer s.timer.Stop()
	select {
	case <-s.woken:
		q.mu.Lock()
		q.inside--
		return true
	case <-s.timer.C:
	}
	q.mu.Lock()
	q.inside--
	for i, other := range q.sleepers {
		if other == s {
			q.sleepers = append(q.sleepers[:i], q.sleepers[i+1:]...)
			return false
		}
	}
	<-s.woken // chosen while the timer ran out
	return true
}

// harvest hands out what is ready now.
func (q *queue) harvest(events []kqueue.Kevent) int {
	n, level := 0, false
	for range len(q.ready) {
		if n == len(events) || len(q.ready) == 0 {
			break
		}
		kn := q.ready[0]
		rest := copy(q.ready, q.ready[1:])
		q.ready = q.ready[:rest]
		kn.queued = false
		if q.isGone(kn) {
			q.drop(kn)
			continue
		}
		seen := kn.look()
		oneshot := kn.flags&kqueue.FlagOneshot != 0
		if !seen.ready && !(oneshot && q.kernel.StaleOneshot) {
			kn.active = false
			continue
		}
		events[n] = kn.event(seen, q.kernel.EventsHaveAdd)
		n++
		level = q.told(kn) || level
	}
	if level && !q.kernel.Flavour.Traits.SilentRequeue {
		q.wake(len(q.sleepers))
	}
	return n
}

// told does what a knote's mode says about one that has been told. It reports
// whether it was put back.
func (q *queue) told(kn *knote) bool {
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

// detachOneshot detaches an EV_ONESHOT knote that has been handed out; with OneshotRace
// the queue is unlocked for a moment first, as NetBSD's kqueue_scan does before 1.140 of
// kern_event.c.
func (q *queue) detachOneshot(kn *knote) {
	if q.kernel.OneshotRace {
		kn.inHand++
		q.mu.Unlock()
		q.kernel.Detaching()
		q.mu.Lock()
		kn.inHand--
		if kn.freed {
			q.kernel.Fault("an EV_ONESHOT knote was freed twice")
			return
		}
	}
	q.drop(kn)
}
