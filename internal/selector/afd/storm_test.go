//go:build windows

package afd

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// TestDevicesAreShared: with more sockets than one device handle is used for, all
// sockets are reported, and the handles are closed with them.
func TestDevicesAreShared(t *testing.T) {
	s := open(t)
	const n = 3*perDevice + 5
	var a, b [n]sys.FD
	for i := range n {
		a[i], b[i] = testPair(t)
		check(t, "add", s.Add(a[i], selector.Key(i), r, edge))
	}
	if s.devices.count != 4 {
		t.Errorf("%d devices for %d sockets", s.devices.count, n)
	}
	for round := range 2 {
		for i := range n {
			send(t, b[i], "x")
		}
		seen := map[selector.Key]bool{}
		for len(seen) < n {
			ev := next(t, s)
			if seen[ev.Key] {
				t.Fatalf("round %d: key %d twice", round, ev.Key)
			}
			seen[ev.Key] = true
			drain(t, a[ev.Key])
			s.Rearm(a[ev.Key], ev.Key, r)
		}
	}
	for i := range n {
		check(t, "delete", s.Delete(a[i], selector.Key(i)))
	}
	none(t, s) // takes the completions of the deleted registrations
	if s.devices.count != 1 || s.deletedInFlight.Load() != 0 {
		t.Errorf("%d devices, %d polls in flight after all sockets are deleted", s.devices.count, s.deletedInFlight.Load())
	}
}

// TestLateLocalClose: Q4. A handle is closed without Delete and its number reused;
// AFD's report of the old socket's close does not affect the new socket.
func TestLateLocalClose(t *testing.T) {
	s := open(t)
	reused := 0
	for key := selector.Key(1); reused < 10 && key < 200; key += 2 {
		a, b := pair(t)
		check(t, "add", s.Add(a, key, r, edge))
		sys.Close(a) // without Delete; its LOCAL_CLOSE is not taken yet
		c, d := pair(t)
		if c == a {
			reused++
		}
		if err := s.Add(c, key+1, r, edge); err != nil {
			if c != a {
				t.Fatal(err)
			}
			none(t, s)
			check(t, "add after the completion was taken", s.Add(c, key+1, r, edge))
		}
		none(t, s)
		if err := s.Delete(a, key); err == nil {
			t.Error("the registration of a closed handle still exists")
		}
		send(t, d, "x")
		want(t, next(t, s), key+1, selector.ReadableFlag)
		check(t, "delete", s.Delete(c, key+1))
		for _, fd := range []sys.FD{b, c, d} {
			sys.Close(fd)
		}
	}
	t.Logf("%d numbers were reused", reused)
	if reused == 0 {
		t.Skip("the system has not reused a number")
	}
}

// TestReuse: Q4. Delete and close while data is in flight, then a socket that may have
// the same number.
func TestReuse(t *testing.T) {
	s := open(t)
	for key := selector.Key(1); key < 300; key++ {
		a, b := pair(t)
		check(t, "add", s.Add(a, key, r|w, edge))
		send(t, b, "x")
		check(t, "delete", s.Delete(a, key))
		sys.Close(a)
		sys.Close(b)
		if key%50 == 0 {
			none(t, s)
		}
	}
	if n := len(s.sockets); n > 50+2*maxDeletedInFlight {
		t.Errorf("%d registrations were allocated, although one exists at a time", n)
	}
}

// TestNoWaitIsBounded: Add and Delete without a Wait leave a bounded number of deleted
// registrations. Neither events of other registrations nor a notice are lost if Add
// takes their packets from the port.
func TestNoWaitIsBounded(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	other, peer := testPair(t)
	check(t, "add", s.Add(other, 9, r, edge))
	send(t, peer, "x")
	for key := selector.Key(10); key < 1000; key++ {
		check(t, "add", s.Add(a, key, r, edge))
		check(t, "delete", s.Delete(a, key))
	}
	if n := len(s.sockets); n > 2*maxDeletedInFlight {
		t.Errorf("%d registrations were allocated, want %d at most", n, 2*maxDeletedInFlight)
	}
	want(t, next(t, s), 9, selector.ReadableFlag)
	drain(t, other)
	s.Rearm(other, 9, r)
	none(t, s)

	got := make(chan selector.Event)
	go func() { got <- next(t, s) }()
	asleep(t, s, 1)
	send(t, peer, "y")
	for key := selector.Key(1000); key < 2000; key++ {
		check(t, "add", s.Add(a, key, r, edge))
		check(t, "delete", s.Delete(a, key))
	}
	want(t, <-got, 9, selector.ReadableFlag)
	send(t, b, "z")
}

// TestCloseInFlight: Q5. Close waits for the completions of the polls in flight, and
// frees their memory.
func TestCloseInFlight(t *testing.T) {
	free := func() int {
		slots.mu.Lock()
		defer slots.mu.Unlock()
		return len(slots.free)
	}
	before, _ := testkit.OpenDescriptors()
	for range 10 {
		s, err := Open(selector.Config{})
		check(t, "open", err)
		was := -1
		const n = 100
		var fds []sys.FD
		for i := range n {
			a, b := pair(t)
			fds = append(fds, a, b)
			check(t, "add", s.Add(a, selector.Key(i), r, edge))
			if i == 0 {
				was = free() // after the first allocation of memory from the system
			}
		}
		check(t, "modify", s.Modify(fds[0], 0, n, r|w, edge)) // its poll is cancelled
		check(t, "delete", s.Delete(fds[2], 1))               // deleted, with a poll in flight
		check(t, "close", s.Close())
		if now := free(); now != was+1 {
			t.Errorf("%d slots are free, %d with one poll in flight", now, was)
		}
		for _, fd := range fds {
			sys.Close(fd)
		}
	}
	if after, _ := testkit.OpenDescriptors(); after > before+2 {
		t.Errorf("%d handles, %d before", after, before)
	}
}

// TestManySelectors: 2,000 selectors close all their handles.
func TestManySelectors(t *testing.T) {
	a, _ := testPair(t)
	before, _ := testkit.OpenDescriptors()
	for i := range 2000 {
		s, err := Open(selector.Config{})
		check(t, "open", err)
		if i%100 == 0 {
			check(t, "add", s.Add(a, 1, r|w, edge))
			next(t, s)
		}
		check(t, "close", s.Close())
	}
	if after, _ := testkit.OpenDescriptors(); after > before+2 {
		t.Errorf("%d handles, %d before", after, before)
	}
}

// TestOneWaiterEach: Q3. With many waiters each edge is reported to one of them, and
// none is lost. A byte is sent when the previous one has been received.
func TestOneWaiterEach(t *testing.T) {
	const sources, waiters, rounds = 40, 6, 100
	s := open(t)
	var a, b [sources]sys.FD
	for i := range sources {
		a[i], b[i] = testPair(t)
		check(t, "add", s.Add(a[i], selector.Key(i), r, edge))
	}
	var got [sources]atomic.Int32
	var finished atomic.Int32
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			var evs [8]selector.Event
			var buf [8]byte
			for finished.Load() < sources {
				n, err := s.Wait(evs[:], soon)
				if err != nil || n == 0 && finished.Load() < sources {
					t.Errorf("wait: %d, %v", n, err)
					return
				}
				for _, ev := range evs[:n] {
					i := int(ev.Key)
					if k, e := sys.Recv(a[i], buf[:], 0); k != 1 || e != 0 {
						t.Errorf("recv after an event: %d bytes, %v, want 1 byte", k, e)
					}
					s.Rearm(a[i], ev.Key, r) // a short read
					switch got[i].Add(1) {
					case rounds:
						if finished.Add(1) == sources {
							s.NotifyAll()
						}
					default:
						// On Wine a send would block until another thread's send on
						// the same socket has returned, although its byte has arrived.
						for e := syscall.EAGAIN; sys.WouldBlock(e); {
							_, e = sys.Send(b[i], buf[:1], 0)
						}
					}
				}
			}
		})
	}
	for i := range sources {
		send(t, b[i], "x")
	}
	wg.Wait()
}

// TestNotify: a notice ends one Wait, a sleeping one or the next; NotifyAll ends all.
// Notices coalesce until a Wait has taken one, which it does after it has stopped
// counting as asleep: so the test sends the next notice when the Wait has returned.
func TestNotify(t *testing.T) {
	s := open(t)
	var evs [1]selector.Event
	check(t, "notify", s.Notify())
	check(t, "notify", s.Notify())
	start := time.Now()
	n, err := s.Wait(evs[:], soon)
	if n != 0 || err != nil || time.Since(start) >= soon {
		t.Errorf("%d, %v after %v", n, err, time.Since(start))
	}
	none(t, s)

	const waiters = 20
	var awake atomic.Int32
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			var evs [1]selector.Event
			s.Wait(evs[:], -1)
			awake.Add(1)
		})
	}
	asleep(t, s, waiters)
	for i := range int32(5) {
		check(t, "notify", s.Notify())
		for end := time.Now().Add(soon); awake.Load() != i+1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d calls of Wait have returned after %d notices", awake.Load(), i+1)
			}
		}
		asleep(t, s, waiters-1-i)
	}
	check(t, "notify all", s.NotifyAll())
	wg.Wait()
	if n, err := s.Wait(evs[:], -1); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// TestNoticeAndGuards: Q7. A Wait that polls the port before it sleeps, because guards are
// due, may take a notice's packet that was posted for a Wait that has returned with events.
// It must not sleep then.
func TestNoticeAndGuards(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	send(t, b, "x")
	want(t, next(t, s), 1, selector.ReadableFlag)
	if s.guards.count.Load() == 0 {
		t.Fatal("no guard is due")
	}
	s.sleep.count.Add(1)
	check(t, "notify", s.Notify())
	s.sleep.count.Add(-1)
	var evs [1]selector.Event
	start := time.Now()
	n, err := s.Wait(evs[:], soon)
	if n != 0 || err != nil || time.Since(start) >= soon {
		t.Errorf("%d, %v after %v", n, err, time.Since(start))
	}
	none(t, s)
}

// TestBusyPoll: a Wait that spins finds events and notices, and sleeps after the spin.
func TestBusyPoll(t *testing.T) {
	s, err := Open(selector.Config{BusyPoll: 2 * time.Millisecond})
	check(t, "open", err)
	defer s.Close()
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	none(t, s)
	go sys.Send(b, []byte("x"), 0)
	want(t, next(t, s), 1, selector.ReadableFlag)
	check(t, "notify", s.Notify())
	var evs [1]selector.Event
	if n, err := s.Wait(evs[:], soon); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// TestThreadEnd: a poll survives the end of the thread that has started it, or is
// started again: the event is reported either way.
func TestThreadEnd(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with the goroutine
		if err := s.Add(a, 1, r, edge); err != nil {
			t.Error(err)
		}
		close(done)
	}()
	<-done
	time.Sleep(quiet)
	send(t, b, "x")
	want(t, next(t, s), 1, selector.ReadableFlag)
}

// TestUDP: datagrams, and a socket without a peer.
func TestUDP(t *testing.T) {
	s := open(t)
	fd, e := sys.Socket(sys.AF_INET6, sys.SOCK_DGRAM, 0)
	if e == syscall.EAFNOSUPPORT {
		t.Skip("no IPv6:", e)
	}
	ok(t, "socket", e, e != 0)
	defer sys.Close(fd)
	var to sys.Sockaddr
	to.SetAddrPort(loopback6, sys.AF_INET6)
	e = sys.Bind(fd, &to)
	ok(t, "bind", e, e != 0)
	to, e = sys.LocalAddr(fd)
	ok(t, "getsockname", e, e != 0)
	check(t, "add", s.Add(fd, 1, r, edge))
	none(t, s)
	for range 3 {
		_, e = sys.SendTo(fd, []byte("hello"), &to)
		ok(t, "sendto", e, e != 0)
		want(t, next(t, s), 1, selector.ReadableFlag)
		var b [3]byte
		var from sys.Sockaddr
		n, truncated, e := sys.RecvFrom(fd, b[:], &from)
		if n != 3 || !truncated || e != 0 || from.AddrPort() != to.AddrPort() {
			t.Errorf("%d, %v, %v from %v", n, truncated, e, from.AddrPort())
		}
		if _, _, e = sys.RecvFrom(fd, b[:], &from); !sys.WouldBlock(e) {
			t.Error(e)
		}
		s.Rearm(fd, 1, r)
	}
}
