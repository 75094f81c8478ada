package kqueue_test

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/kqueue/kqtest"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

const (
	edge    = selector.Trigger(0)
	level   = selector.Level
	oneshot = selector.Oneshot

	readable = selector.Readable
	writable = selector.Writable
	priority = selector.Priority
)

// deadline is how long a test waits for what must happen, settle for what must not.
const (
	deadline = testkit.Watchdog
	settle   = 15 * time.Millisecond
)

// fixture is a selector on a model kernel.
type fixture struct {
	testing.TB
	*kqueue.Selector
	flavour kqtest.Flavour
}

// onEachSystem runs f with a selector on the model of each system.
func onEachSystem(t *testing.T, f func(b fixture)) {
	for _, flavour := range kqtest.Flavours() {
		flavour.AckEdges, flavour.ExtraPipeEdges = 0, false // the tests count edges
		t.Run(flavour.Name, func(t *testing.T) { f(open(t, flavour, kqtest.New(flavour))) })
	}
}

func open(t testing.TB, flavour kqtest.Flavour, k kqueue.Kernel) fixture {
	t.Helper()
	s, err := kqueue.OpenOn(k, selector.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return fixture{t, s, flavour}
}

func (b fixture) pair() (x, y sys.FD) {
	b.Helper()
	p, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		b.Fatal(e)
	}
	b.Cleanup(func() { sys.Close(p[0]); sys.Close(p[1]) })
	return p[0], p[1]
}

func (b fixture) add(fd sys.FD, key selector.Key, i selector.Interest, t selector.Trigger) {
	b.Helper()
	if err := b.Add(fd, key, i, t); err != nil {
		b.Fatalf("Add: %v", err)
	}
}

func (b fixture) modify(fd sys.FD, old, key selector.Key, i selector.Interest, t selector.Trigger) {
	b.Helper()
	if err := b.Modify(fd, old, key, i, t); err != nil {
		b.Fatalf("Modify: %v", err)
	}
}

func (b fixture) write(fd sys.FD) {
	b.Helper()
	if _, e := sys.Write(fd, []byte("x")); e != 0 {
		b.Fatalf("write: %v", e)
	}
}

// want calls Wait for one event and compares it.
func (b fixture) want(key selector.Key, f selector.Flags) {
	b.Helper()
	events := make([]selector.Event, 1)
	n, err := b.Wait(events, deadline)
	if n != 1 || err != nil || events[0].Key != key || events[0].Flags != f {
		b.Fatalf("Wait = %v, %v; want key %d, flags %#x", events[:n], err, key, f)
	}
}

func (b fixture) quiet() {
	b.Helper()
	events := make([]selector.Event, 8)
	if n, err := b.Wait(events, settle); n != 0 || err != nil {
		b.Fatalf("Wait = %v, %v; want nothing", events[:n], err)
	}
}

const (
	r  = selector.ReadableFlag
	w  = selector.WritableFlag
	p  = selector.PriorityFlag
	rc = selector.ReadClosed
	wc = selector.WriteClosed
)

// Two knotes of one registration that are ready in one batch make one event.
func TestBothKnotesOneEvent(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		for i, trigger := range []selector.Trigger{edge, level, oneshot} {
			x, y := b.pair()
			b.write(y)
			key := selector.Key(i + 1)
			b.add(x, key, readable|writable, trigger)
			events := make([]selector.Event, 8)
			for range 3 { // the slice's old contents must not matter
				n, err := b.Wait(events, deadline)
				if n != 1 || err != nil || events[0] != (selector.Event{Key: key, Flags: r | w}) {
					b.Fatalf("trigger %d: Wait = %v, %v; want one event, readable and writable", trigger, events[:n], err)
				}
				if trigger != level {
					b.modify(x, key, key, readable|writable, trigger)
				}
			}
			b.Delete(x, key)
		}
	})
}

// With space for one event the second knote stays in the kernel. A oneshot
// registration must not report it until Modify, which reports both again.
func TestOneshotReportedOnce(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		x, y := b.pair()
		b.write(y)
		b.add(x, 1, readable|writable, oneshot)
		for key := selector.Key(1); key < 5; key++ {
			events := make([]selector.Event, 1)
			n, err := b.Wait(events, deadline)
			if n != 1 || err != nil || events[0].Key != key {
				b.Fatalf("Wait = %v, %v; want key %d", events[:n], err, key)
			}
			b.quiet()
			b.write(y)
			b.quiet()
			b.modify(x, key, key+1, readable|writable, oneshot)
		}
	})
}

// A knote keeps its mode when it is added again, so Modify deletes it first.
func TestModeChange(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		x, y := b.pair()
		b.write(y)
		triggers := []selector.Trigger{edge, level, oneshot, edge, oneshot, level, edge}
		b.add(x, 0, readable, edge)
		for i, trigger := range triggers {
			key := selector.Key(i + 1)
			b.modify(x, key-1, key, readable, trigger)
			for range 2 {
				b.want(key, r)
				if trigger != level {
					b.quiet()
					break
				}
			}
			b.write(y)
			if trigger == oneshot {
				b.quiet()
			} else {
				b.want(key, r)
			}
		}
		b.modify(x, 7, 8, writable, edge)
		b.want(8, w)
		b.write(y)
		b.quiet()
	})
}

func TestExists(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		for i, trigger := range []selector.Trigger{edge, oneshot, level} {
			x, y := b.pair()
			key := selector.Key(10 * (i + 1))
			b.add(x, key, readable, trigger)
			if err := b.Add(x, key+1, writable, edge); !errors.Is(err, selector.ErrExists) {
				b.Fatalf("second Add: %v, want ErrExists", err)
			}
			b.write(y)
			b.want(key, r)
			if trigger == oneshot {
				if err := b.Add(x, key+1, writable, edge); !errors.Is(err, selector.ErrExists) {
					b.Fatalf("Add after the oneshot event: %v, want ErrExists", err)
				}
				b.quiet()
			}
			if err := b.Delete(x, key); err != nil {
				b.Fatal(err)
			}
			b.add(x, key+2, readable, edge)
			b.want(key+2, r)
		}
	})
}

// The kernel drops a descriptor that is closed without Delete. Its number can be
// registered again, and calls with the old key do not affect the new registration.
func TestNumberAbandoned(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		x, _ := b.pair()
		b.add(x, 1, readable, edge)
		sys.Close(x)
		again, other := b.pair()
		for again != x {
			again, other = b.pair() // the lowest free number comes first
		}
		b.add(again, 2, readable, edge)
		if err := b.Delete(again, 1); err == nil {
			b.Error("Delete with the old key succeeded")
		}
		if err := b.Modify(again, 1, 3, readable, edge); err == nil {
			b.Error("Modify of the old key succeeded")
		}
		b.write(other)
		b.want(2, r)
		b.quiet()
	})
}

// With interest Priority alone, the end of the stream is reported; data is not.
func TestPriorityOnly(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		for i, trigger := range []selector.Trigger{edge, level, oneshot} {
			x, y := b.pair()
			key := selector.Key(i)
			b.add(x, key, priority, trigger)
			b.write(y)
			b.quiet()
			sys.Shutdown(y, sys.SHUT_WR)
			b.want(key, r|rc)
			b.quiet()
			b.Delete(x, key)
		}
	})
}

// A pipe without a reader: kqueue refuses EVFILT_WRITE; the selector reports it.
func TestBrokenPipe(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		for i, trigger := range []selector.Trigger{edge, level, oneshot} {
			rd, wr, _ := sys.Pipe()
			defer sys.Close(wr)
			sys.Close(rd)
			key := selector.Key(10 * (i + 1))
			b.add(wr, key, writable, trigger)
			b.want(key, w|wc)
			if trigger == level {
				b.want(key, w|wc)
			} else {
				b.quiet()
			}
			b.modify(wr, key, key+1, writable, oneshot)
			b.want(key+1, w|wc)
			b.quiet()
			if err := b.Add(wr, key+2, writable, edge); !errors.Is(err, selector.ErrExists) {
				b.Errorf("second Add: %v, want ErrExists", err)
			}
			b.modify(wr, key+1, key+2, writable, level)
			if err := b.Delete(wr, key+2); err != nil {
				b.Error(err)
			}
			b.quiet()
		}
	})
}

// An event that the selector reports by itself also reaches sleeping waiters.
func TestBrokenPipeWakesSleeper(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		rd, wr, _ := sys.Pipe()
		defer sys.Close(wr)
		sys.Close(rd)
		asleep := b.sleepers(3, 1)
		b.add(wr, 1, writable, level)
		asleep(3)
	})
}

// sleepers starts n goroutines that call Wait once. The function that it returns
// fails unless as many as given get an event before the deadline, and wakes the rest.
func (b fixture) sleepers(n int, size int) func(want int) {
	results := make(chan int, n)
	for range n {
		go func() {
			k, err := b.Wait(make([]selector.Event, size), -1)
			if err != nil {
				b.Error(err)
			}
			results <- k
		}()
	}
	time.Sleep(settle) // so that they are asleep; the test is valid either way
	return func(want int) {
		b.Helper()
		for i := range n {
			if i == want {
				b.NotifyAll()
			}
			select {
			case k := <-results:
				if (k > 0) != (i < want) {
					b.Errorf("waiter %d of %d returned with %d events, want %d waiters to get one", i, n, k, want)
				}
			case <-time.After(deadline):
				b.Fatalf("%d of %d waiters did not return", n-i, n)
			}
		}
	}
}

// Every Wait reports level readiness, also one that sleeps on NetBSD, which puts
// the knote back without waking it.
func TestLevelReachesAllSleepers(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		x, y := b.pair()
		b.add(x, 1, readable, level)
		asleep := b.sleepers(8, 1)
		b.write(y)
		asleep(8)
	})
}

// One edge reaches one of 64 sleepers, and NotifyAll wakes the rest.
func TestEdgeReachesOneSleeper(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		x, y := b.pair()
		b.add(x, 1, readable, edge)
		asleep := b.sleepers(64, 4)
		b.write(y)
		asleep(1)
	})
}

// Notify makes one waiter return and leaves the others asleep.
func TestNotifyReachesOne(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		const n = 4
		var back sync.WaitGroup
		returned := make(chan struct{}, n)
		for range n {
			back.Go(func() {
				b.Wait(make([]selector.Event, 1), -1)
				returned <- struct{}{}
			})
		}
		for range n {
			time.Sleep(settle)
			b.Notify()
			<-returned
			select {
			case <-returned:
				b.Fatal("one Notify made two waiters return")
			case <-time.After(settle):
			}
		}
		back.Wait()
		b.Notify() // no Wait sleeps: kept for the next
		if k, err := b.Wait(make([]selector.Event, 1), -1); k != 0 || err != nil {
			b.Errorf("Wait = %d, %v", k, err)
		}
	})
}

// If the kernel could not wake a sleeper for a notice, the next Notify tries again.
func TestFailedNotifyIsTriedAgain(t *testing.T) {
	onEachSystem(t, func(outer fixture) {
		m := &hookedKernel{Kernel: kqtest.New(outer.flavour)}
		b := open(outer, outer.flavour, m)
		var failing atomic.Bool
		m.change = func(*kqueue.Kevent) syscall.Errno {
			if failing.Load() {
				return syscall.ENOMEM
			}
			return 0
		}
		back := make(chan error, 1)
		go func() {
			_, err := b.Wait(make([]selector.Event, 1), -1)
			back <- err
		}()
		b.Asleep(1)
		failing.Store(true)
		if err := b.Notify(); !errors.Is(err, syscall.ENOMEM) {
			b.Errorf("Notify: %v, want ENOMEM", err)
		}
		failing.Store(false)
		if err := b.Notify(); err != nil {
			b.Errorf("Notify: %v", err)
		}
		select {
		case err := <-back:
			if err != nil {
				b.Error(err)
			}
		case <-time.After(deadline):
			b.Error("Wait did not return")
			b.NotifyAll()
		}
	})
}

func TestNotPollable(t *testing.T) {
	onEachSystem(t, func(b fixture) {
		for _, name := range []string{os.DevNull, b.TempDir(), os.Args[0]} {
			f, err := os.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			err = b.Add(sys.FD(f.Fd()), 1, readable, edge)
			if refused := errors.Is(err, selector.ErrNotPollable); refused != (name != os.DevNull) {
				b.Errorf("Add of %s: %v", name, err)
			}
		}
		if err := b.Add(-1, 1, readable, edge); !errors.Is(err, syscall.EBADF) {
			b.Errorf("Add of no descriptor: %v, want EBADF", err)
		}
		if err := b.Add(1<<20, 1, readable, edge); !errors.Is(err, syscall.EBADF) {
			b.Errorf("Add of a closed descriptor: %v, want EBADF", err)
		}
	})
}

// hookedKernel is a kernel with hooks that run before and after calls of Kevent.
type hookedKernel struct {
	kqueue.Kernel
	after  func(events []kqueue.Kevent)                // after a call that has returned events
	change func(c *kqueue.Kevent) (e syscall.Errno)    // returns the error of a change
	before func(timeout *kqueue.Timespec, changes int) // before any call
}

func (m *hookedKernel) Kevent(kq sys.FD, changes, events []kqueue.Kevent, timeout *kqueue.Timespec) (int, syscall.Errno) {
	if m.before != nil {
		m.before(timeout, len(changes))
	}
	failed := make(map[int]syscall.Errno)
	if m.change != nil {
		for i := range changes {
			if e := m.change(&changes[i]); e != 0 {
				failed[i] = e
			}
		}
	}
	if len(failed) > 0 && len(events) == 0 {
		return 0, failed[0]
	}
	n, e := m.Kernel.Kevent(kq, changes, events, timeout)
	for i, e := range failed {
		events[i].Data = int64(e)
		m.Kernel.Kevent(kq, []kqueue.Kevent{{Ident: changes[i].Ident, Filter: changes[i].Filter, Flags: kqueue.FlagDelete}}, nil, &kqueue.Timespec{})
	}
	if m.after != nil && len(changes) == 0 && n > 0 {
		m.after(events[:n])
	}
	return n, e
}

// An event that Wait has taken from the kernel before its registration is changed,
// or removed and its descriptor registered again, is not reported as one of the new
// registration, however narrow the user data is.
func TestStaleInBatch(t *testing.T) {
	for _, bits := range []uint{64, 32, 8} {
		flavour := kqtest.DragonFly
		flavour.Traits.UdataBits = bits
		m := &hookedKernel{Kernel: kqtest.New(flavour)}
		b := open(t, flavour, m)
		x, y := b.pair()
		b.add(x, 1, readable, edge)
		b.write(y)
		buf := make([]byte, 8)
		for key := selector.Key(1); key < 600; key += 2 {
			m.after = func([]kqueue.Kevent) {
				m.after = nil
				sys.Read(x, buf)
				b.Delete(x, key)
				b.add(x, key+1, readable, edge)
			}
			if n, err := b.Wait(make([]selector.Event, 1), 0); n != 0 || err != nil {
				t.Fatalf("Wait = %d, %v: a stale event", n, err)
			}
			b.write(y)
			m.after = func([]kqueue.Kevent) {
				m.after = nil
				b.modify(x, key+1, key+2, readable, edge)
			}
			b.want(key+2, r)
			sys.Read(x, buf)
			b.write(y)
		}
	}
}

// Two waiters have each taken the event of one knote of a oneshot registration: only
// one of them reports it.
func TestOneshotInTwoBatches(t *testing.T) {
	onEachSystem(t, func(outer fixture) {
		m := &hookedKernel{Kernel: kqtest.New(outer.flavour)}
		b := open(outer, outer.flavour, m)
		x, y := b.pair()
		b.write(y)
		b.add(x, 1, readable|writable, oneshot)
		total := 0
		m.after = func([]kqueue.Kevent) {
			m.after = nil
			n, _ := b.Wait(make([]selector.Event, 1), 0) // the second waiter, after the first has taken its event
			total += n
		}
		n, err := b.Wait(make([]selector.Event, 1), 0)
		if total += n; total != 1 || err != nil {
			b.Errorf("%d events of a oneshot registration, %v; want 1", total, err)
		}
	})
}

// If one of several changes fails, Add removes the others.
func TestAddFails(t *testing.T) {
	onEachSystem(t, func(outer fixture) {
		m := &hookedKernel{Kernel: kqtest.New(outer.flavour)}
		b := open(outer, outer.flavour, m)
		x, y := b.pair()
		b.write(y)
		m.change = func(c *kqueue.Kevent) syscall.Errno {
			if c.Filter == kqueue.FilterWrite && c.Flags&kqueue.FlagAdd != 0 {
				return syscall.ENOMEM
			}
			return 0
		}
		if err := b.Add(x, 1, readable|writable, level); !errors.Is(err, syscall.ENOMEM) {
			b.Errorf("Add: %v, want ENOMEM", err)
		}
		m.change = func(c *kqueue.Kevent) syscall.Errno {
			if c.Ident == uint64(x) && c.Flags&kqueue.FlagAdd != 0 {
				return syscall.EINVAL // a driver without the filter
			}
			return 0
		}
		if err := b.Add(x, 2, readable, level); !errors.Is(err, selector.ErrNotPollable) {
			b.Errorf("Add: %v, want ErrNotPollable", err)
		}
		m.change = nil
		b.quiet()
		b.add(x, 3, readable, level)
		b.want(3, r)
	})
}

// A receipt with an error is an error of Modify, whichever change it is for; the registration
// that remains has the new key, and Delete with that key removes it.
func TestModifyFails(t *testing.T) {
	onEachSystem(t, func(outer fixture) {
		m := &hookedKernel{Kernel: kqtest.New(outer.flavour)}
		b := open(outer, outer.flavour, m)
		x, y := b.pair()
		b.write(y)
		for _, failing := range []kqueue.Filter{kqueue.FilterRead, kqueue.FilterWrite} {
			b.add(x, 1, readable, edge)
			b.want(1, r)
			m.change = func(c *kqueue.Kevent) syscall.Errno {
				if c.Filter == failing && c.Flags&kqueue.FlagAdd != 0 {
					return syscall.ENOMEM
				}
				return 0
			}
			if err := b.Modify(x, 1, 2, readable|writable, level); !errors.Is(err, syscall.ENOMEM) {
				b.Errorf("Modify: %v, want ENOMEM", err)
			}
			m.change = nil
			if err := b.Delete(x, 1); err == nil {
				b.Error("Delete with the old key succeeded")
			}
			if err := b.Delete(x, 2); err != nil {
				b.Errorf("Delete: %v", err)
			}
			b.quiet()
		}
	})
}

// kevent(2) refuses a timespec that is negative, has 1e9 nanoseconds or more, or is
// larger than its clock can hold.
func TestTimeouts(t *testing.T) {
	flavour := kqtest.FreeBSD
	flavour.Interrupts = 2
	m := &hookedKernel{Kernel: kqtest.New(flavour)}
	b := open(t, flavour, m)
	slept := 0
	m.before = func(ts *kqueue.Timespec, _ int) {
		if ts == nil {
			return
		}
		if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 || ts.Sec > 86400 {
			t.Errorf("timeout %+v", *ts)
		}
		slept++
	}
	for _, d := range []time.Duration{1, 999, time.Millisecond, 30*time.Millisecond + 7} {
		start := time.Now()
		if n, err := b.Wait(make([]selector.Event, 1), d); n != 0 || err != nil || time.Since(start) < d {
			t.Errorf("Wait(%v) = %d, %v after %v", d, n, err, time.Since(start))
		}
	}
	x, y := b.pair()
	b.add(x, 1, readable, edge)
	go sys.Write(y, []byte("x"))
	if n, err := b.Wait(make([]selector.Event, 1), 1<<63-1); n != 1 || err != nil {
		t.Errorf("Wait = %d, %v", n, err)
	}
	if slept == 0 {
		t.Error("no call had a timeout")
	}
}

// The wake-up does not depend on how full the wake pipe is.
func TestWakePipeNeverFills(t *testing.T) {
	b := open(t, kqtest.NetBSD, kqtest.New(kqtest.NetBSD))
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 2000 {
			b.Wait(make([]selector.Event, 1), time.Second)
		}
		b.NotifyAll()
	})
	for {
		if err := b.Notify(); err != nil {
			t.Fatal(err)
		}
		if n, _ := b.Wait(make([]selector.Event, 1), 0); n != 0 {
			t.Fatalf("Wait = %d events, but nothing is registered", n)
		}
		if b.Ended() {
			break
		}
	}
	wg.Wait()
}
