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
)

const (
	edge    = selector.Trigger(0)
	level   = selector.Level
	oneshot = selector.Oneshot

	readable = selector.Readable
	writable = selector.Writable
	priority = selector.Priority
)

// deadline bounds what must happen, settle what must not.
const (
	deadline = 10 * time.Second
	settle   = 15 * time.Millisecond
)

// bench is a selector on a model kernel, and what it watches.
type bench struct {
	testing.TB
	*kqueue.Selector
	flavour kqtest.Flavour
}

// everywhere runs f over the selector on each system's model.
func everywhere(t *testing.T, f func(b bench)) {
	for _, flavour := range kqtest.Flavours() {
		flavour.AckEdges, flavour.ExtraPipeEdges = 0, false // here edges are counted
		t.Run(flavour.Name, func(t *testing.T) { f(open(t, flavour, kqtest.New(flavour))) })
	}
}

func open(t testing.TB, flavour kqtest.Flavour, k kqueue.Kernel) bench {
	t.Helper()
	s, err := kqueue.OpenOn(k, selector.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return bench{t, s, flavour}
}

func (b bench) pair() (x, y sys.FD) {
	b.Helper()
	p, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		b.Fatal(e)
	}
	b.Cleanup(func() { sys.Close(p[0]); sys.Close(p[1]) })
	return p[0], p[1]
}

func (b bench) add(fd sys.FD, key selector.Key, i selector.Interest, t selector.Trigger) {
	b.Helper()
	if err := b.Add(fd, key, i, t); err != nil {
		b.Fatalf("Add: %v", err)
	}
}

func (b bench) modify(fd sys.FD, old, key selector.Key, i selector.Interest, t selector.Trigger) {
	b.Helper()
	if err := b.Modify(fd, old, key, i, t); err != nil {
		b.Fatalf("Modify: %v", err)
	}
}

func (b bench) write(fd sys.FD) {
	b.Helper()
	if _, e := sys.Write(fd, []byte("x")); e != 0 {
		b.Fatalf("write: %v", e)
	}
}

// want takes one event, room being for that only, and compares it.
func (b bench) want(key selector.Key, f selector.Flags) {
	b.Helper()
	events := make([]selector.Event, 1)
	n, err := b.Wait(events, deadline)
	if n != 1 || err != nil || events[0].Key != key || events[0].Flags != f {
		b.Fatalf("Wait = %v, %v; want key %d, flags %#x", events[:n], err, key, f)
	}
}

func (b bench) quiet() {
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

// Two knotes that are ready in one batch are one event.
func TestBothKnotesOneEvent(t *testing.T) {
	everywhere(t, func(b bench) {
		for i, trigger := range []selector.Trigger{edge, level, oneshot} {
			x, y := b.pair()
			b.write(y)
			key := selector.Key(i + 1)
			b.add(x, key, readable|writable, trigger)
			events := make([]selector.Event, 8)
			for range 3 { // what is in the slice from before does not count
				n, err := b.Wait(events, deadline)
				if n != 1 || err != nil || events[0] != (selector.Event{Key: key, Flags: r | w}) {
					b.Fatalf("trigger %d: Wait = %v, %v; want one event of both", trigger, events[:n], err)
				}
				if trigger != level {
					b.modify(x, key, key, readable|writable, trigger)
				}
			}
			b.Delete(x, key)
		}
	})
}

// With room for one kernel event the second knote stays behind; a oneshot
// registration must not tell it until Modify, and then tells both again.
func TestOneshotToldOnce(t *testing.T) {
	everywhere(t, func(b bench) {
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
	everywhere(t, func(b bench) {
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
	everywhere(t, func(b bench) {
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
					b.Fatalf("Add after the one shot: %v, want ErrExists", err)
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

// A descriptor that was closed without Delete is gone from the kernel. Its number
// may be registered again, and whoever had it before can no longer hurt that.
func TestNumberAbandoned(t *testing.T) {
	everywhere(t, func(b bench) {
		x, _ := b.pair()
		b.add(x, 1, readable, edge)
		sys.Close(x)
		again, other := b.pair()
		for again != x {
			again, other = b.pair() // the lowest free number comes first
		}
		b.add(again, 2, readable, edge)
		if err := b.Delete(again, 1); err == nil {
			b.Error("Delete with the abandoned key succeeded")
		}
		if err := b.Modify(again, 1, 3, readable, edge); err == nil {
			b.Error("Modify of the abandoned key succeeded")
		}
		b.write(other)
		b.want(2, r)
		b.quiet()
	})
}

// Whatever the interest is, the end of the stream is told; data is not.
func TestPriorityOnly(t *testing.T) {
	everywhere(t, func(b bench) {
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

// A pipe without a reader: kqueue refuses EVFILT_WRITE; the selector tells it.
func TestBrokenPipe(t *testing.T) {
	everywhere(t, func(b bench) {
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

// What the selector tells by itself also reaches those who sleep.
func TestBrokenPipeWakesSleeper(t *testing.T) {
	everywhere(t, func(b bench) {
		rd, wr, _ := sys.Pipe()
		defer sys.Close(wr)
		sys.Close(rd)
		asleep := b.sleepers(3, 1)
		b.add(wr, 1, writable, level)
		asleep(3)
	})
}

// sleepers has n goroutines wait for one event each. The function that it returns
// wants so many of them to be told, within the deadline; the rest is released.
func (b bench) sleepers(n int, room int) func(told int) {
	results := make(chan int, n)
	for range n {
		go func() {
			k, err := b.Wait(make([]selector.Event, room), -1)
			if err != nil {
				b.Error(err)
			}
			results <- k
		}()
	}
	time.Sleep(settle) // so that they are asleep; what follows holds either way
	return func(told int) {
		b.Helper()
		for i := range n {
			if i == told {
				b.NotifyAll()
			}
			select {
			case k := <-results:
				if (k > 0) != (i < told) {
					b.Errorf("waiter %d of %d was back with %d events, want %d to be told", i, n, k, told)
				}
			case <-time.After(deadline):
				b.Fatalf("%d of %d waiters sleep on", n-i, n)
			}
		}
	}
}

// Level readiness is told to every Wait, also to those asleep on NetBSD, which
// puts the knote back without waking them.
func TestLevelReachesAllSleepers(t *testing.T) {
	everywhere(t, func(b bench) {
		x, y := b.pair()
		b.add(x, 1, readable, level)
		asleep := b.sleepers(8, 1)
		b.write(y)
		asleep(8)
	})
}

// One edge reaches one sleeper, and NotifyAll releases the rest of 64.
func TestEdgeReachesOneSleeper(t *testing.T) {
	everywhere(t, func(b bench) {
		x, y := b.pair()
		b.add(x, 1, readable, edge)
		asleep := b.sleepers(64, 4)
		b.write(y)
		asleep(1)
	})
}

// Notify makes one waiter return and leaves the others asleep.
func TestNotifyReachesOne(t *testing.T) {
	everywhere(t, func(b bench) {
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
		b.Notify() // kept for who comes
		if k, err := b.Wait(make([]selector.Event, 1), -1); k != 0 || err != nil {
			b.Errorf("Wait = %d, %v", k, err)
		}
	})
}

// A notice of which the kernel could not wake a sleeper is tried again by the next Notify.
func TestFailedNotifyIsTriedAgain(t *testing.T) {
	everywhere(t, func(outer bench) {
		m := &meddler{Kernel: kqtest.New(outer.flavour)}
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
		case <-time.After(3 * deadline):
			b.Error("the Wait sleeps on")
			b.NotifyAll()
		}
	})
}

func TestNotPollable(t *testing.T) {
	everywhere(t, func(b bench) {
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

// meddler is a kernel in which things happen between the calls.
type meddler struct {
	kqueue.Kernel
	after  func(events []kqueue.Kevent)                // a call that took events
	change func(c *kqueue.Kevent) (e syscall.Errno)    // fails a change
	before func(timeout *kqueue.Timespec, changes int) // any call
}

func (m *meddler) Kevent(kq sys.FD, changes, events []kqueue.Kevent, timeout *kqueue.Timespec) (int, syscall.Errno) {
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

// An event that Wait holds while its registration is changed, or ended and the
// descriptor's number registered anew, is not taken for one of the new
// registration, however narrow the user data is.
func TestStaleInBatch(t *testing.T) {
	for _, bits := range []uint{64, 32, 8} {
		flavour := kqtest.DragonFly
		flavour.Traits.UdataBits = bits
		m := &meddler{Kernel: kqtest.New(flavour)}
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

// Two waiters each hold one knote's event of one oneshot registration: one of them
// is told.
func TestOneshotInTwoBatches(t *testing.T) {
	everywhere(t, func(outer bench) {
		m := &meddler{Kernel: kqtest.New(outer.flavour)}
		b := open(outer, outer.flavour, m)
		x, y := b.pair()
		b.write(y)
		b.add(x, 1, readable|writable, oneshot)
		told := 0
		m.after = func([]kqueue.Kevent) {
			m.after = nil
			n, _ := b.Wait(make([]selector.Event, 1), 0) // the second waiter, while the first holds its event
			told += n
		}
		n, err := b.Wait(make([]selector.Event, 1), 0)
		if told += n; told != 1 || err != nil {
			b.Errorf("%d events of one shot, %v", told, err)
		}
	})
}

// If one change of several fails, Add leaves nothing behind.
func TestAddFails(t *testing.T) {
	everywhere(t, func(outer bench) {
		m := &meddler{Kernel: kqtest.New(outer.flavour)}
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

// A receipt that says no is an error of Modify, whichever of its changes it answers; what
// remains is under the new key, and Delete with that key leaves nothing behind.
func TestModifyFails(t *testing.T) {
	everywhere(t, func(outer bench) {
		m := &meddler{Kernel: kqtest.New(outer.flavour)}
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

// kevent(2) refuses a timespec that is negative or has a second's worth of
// nanoseconds, and times past what its clock holds.
func TestTimeouts(t *testing.T) {
	flavour := kqtest.FreeBSD
	flavour.Interrupts = 2
	m := &meddler{Kernel: kqtest.New(flavour)}
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

// Nothing about the wake-up depends on how full a pipe is.
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
			t.Fatal("an event from nowhere")
		}
		if b.Ended() {
			break
		}
	}
	wg.Wait()
}
