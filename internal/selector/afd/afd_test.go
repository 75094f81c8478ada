//go:build windows

package afd

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

const (
	r = selector.Readable
	w = selector.Writable

	soon    = testkit.Watchdog      // how long to wait for what must happen
	quiet   = 30 * time.Millisecond // how long to wait for what must not
	edge    = selector.Trigger(0)
	level   = selector.Level
	oneshot = selector.Oneshot
)

var loopback6 = netip.MustParseAddrPort("[::1]:0")

// open returns a selector that is closed at the end of the test, which fails if a poll
// is in flight then.
func open(t testing.TB) *Selector {
	t.Helper()
	s, err := Open(selector.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
		if n := s.inFlight.Load(); n != 0 {
			t.Errorf("%d polls in flight after Close", n)
		}
	})
	return s
}

func check(t testing.TB, what string, e error) {
	t.Helper()
	if e != nil {
		t.Fatalf("%s: %v", what, e)
	}
}

func ok(t testing.TB, what string, e error, bad bool) {
	t.Helper()
	if bad {
		t.Fatalf("%s: %v", what, e)
	}
}

func listener(t testing.TB) (sys.FD, sys.Sockaddr) {
	t.Helper()
	fd, e := sys.Socket(sys.AF_INET, sys.SOCK_STREAM, 0)
	ok(t, "socket", e, e != 0)
	var a sys.Sockaddr
	a.SetAddrPort(netip.MustParseAddrPort("127.0.0.1:0"), sys.AF_INET)
	e = sys.Bind(fd, &a)
	ok(t, "bind", e, e != 0)
	e = sys.Listen(fd, 128)
	ok(t, "listen", e, e != 0)
	a, e = sys.LocalAddr(fd)
	ok(t, "getsockname", e, e != 0)
	return fd, a
}

// pair returns two connected TCP sockets. The caller closes them.
func pair(t testing.TB) (a, b sys.FD) {
	t.Helper()
	ln, addr := listener(t)
	defer sys.Close(ln)
	a, e := sys.Socket(sys.AF_INET, sys.SOCK_STREAM, 0)
	ok(t, "socket", e, e != 0)
	e = sys.Connect(a, &addr)
	ok(t, "connect", e, e != 0 && !sys.InProgress(e))
	var from sys.Sockaddr
	for end := time.Now().Add(soon); ; {
		if b, e = sys.Accept(ln, &from); e == 0 {
			break
		}
		ok(t, "accept", e, !sys.WouldBlock(e) || time.Now().After(end))
	}
	for end := time.Now().Add(soon); ; {
		if _, e := sys.PeerAddr(a); e == 0 {
			return a, b
		}
		if time.Now().After(end) {
			t.Fatal("not connected")
		}
	}
}

// testPair is pair, but the sockets are closed at the end of the test.
func testPair(t testing.TB) (a, b sys.FD) {
	a, b = pair(t)
	t.Cleanup(func() { sys.Close(a); sys.Close(b) })
	return a, b
}

func send(t testing.TB, fd sys.FD, text string) {
	t.Helper()
	n, e := sys.Send(fd, []byte(text), 0)
	ok(t, "send", e, e != 0 || n != len(text))
}

// arrived waits until fd has n unread bytes, without using the selector.
func arrived(t testing.TB, fd sys.FD, n int) {
	t.Helper()
	b := make([]byte, n)
	for end := time.Now().Add(soon); ; {
		if got, _ := sys.Recv(fd, b, sys.MSG_PEEK); got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes have not arrived", n)
		}
	}
}

// drain reads until a read would block, and returns the number of bytes.
func drain(t testing.TB, fd sys.FD) int {
	t.Helper()
	var b [256]byte
	total := 0
	for {
		n, e := sys.Recv(fd, b[:], 0)
		if sys.WouldBlock(e) {
			return total
		}
		ok(t, "recv", e, e != 0 || n == 0)
		total += n
	}
}

// next waits for one event.
func next(t testing.TB, s *Selector) selector.Event {
	t.Helper()
	var evs [1]selector.Event
	end := time.Now().Add(soon)
	for time.Now().Before(end) {
		n, err := s.Wait(evs[:], time.Until(end))
		check(t, "wait", err)
		if n == 1 {
			return evs[0]
		}
	}
	t.Fatal("no event")
	return selector.Event{}
}

// none fails if there is an event.
func none(t testing.TB, s *Selector) {
	t.Helper()
	var evs [4]selector.Event
	for _, d := range []time.Duration{0, quiet} {
		n, err := s.Wait(evs[:], d)
		check(t, "wait", err)
		if n != 0 {
			t.Fatalf("unexpected: %+v", evs[:n])
		}
	}
}

func want(t testing.TB, ev selector.Event, key selector.Key, f selector.Flags) {
	t.Helper()
	if ev.Key != key || ev.Flags != f {
		t.Fatalf("key %d flags %b, want key %d flags %b", ev.Key, ev.Flags, key, f)
	}
}

// TestEdgeRearm: Q2. An edge is reported once; only Rearm re-arms it, and only
// in the direction that blocked.
func TestEdgeRearm(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r|w, edge))
	want(t, next(t, s), 1, selector.WritableFlag)
	none(t, s)

	send(t, b, "one")
	want(t, next(t, s), 1, selector.ReadableFlag)
	none(t, s)
	send(t, b, "two")
	arrived(t, a, 6)
	none(t, s) // not drained, so not re-armed: on Windows further data makes no event

	if n := drain(t, a); n != 6 {
		t.Fatal(n)
	}
	s.Rearm(a, 1, r)
	none(t, s)
	send(t, b, "three")
	want(t, next(t, s), 1, selector.ReadableFlag)

	s.Rearm(a, 1, w) // still writable: reported again, without Readable
	want(t, next(t, s), 1, selector.WritableFlag)
	s.Rearm(a, 1, r) // bytes are unread: reported again
	want(t, next(t, s), 1, selector.ReadableFlag)
	none(t, s)
}

// TestStaleCompletion: Q2. An event that is older than a read that would have blocked
// is not reported.
func TestStaleCompletion(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	for _, trigger := range []selector.Trigger{edge, level, oneshot} {
		check(t, "add", s.Add(a, 1, r, trigger))
		send(t, b, "x")
		arrived(t, a, 1)
		drain(t, a)
		s.Rearm(a, 1, r)
		none(t, s)
		send(t, b, "y")
		want(t, next(t, s), 1, selector.ReadableFlag)
		drain(t, a)
		check(t, "delete", s.Delete(a, 1))
	}
}

// TestLevel: Q2. Every Wait reports level readiness while it lasts.
func TestLevel(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, level))
	none(t, s)
	send(t, b, "x")
	for range 3 {
		want(t, next(t, s), 1, selector.ReadableFlag)
	}
	drain(t, a)
	none(t, s)
	check(t, "modify", s.Modify(a, 1, 2, r|w, level))
	for range 3 {
		want(t, next(t, s), 2, selector.WritableFlag)
	}
}

// TestOneshot: Q2. A oneshot registration that has fired reports nothing until Modify.
func TestOneshot(t *testing.T) {
	s := open(t)
	for _, trigger := range []selector.Trigger{oneshot, oneshot | level} {
		a, b := testPair(t)
		check(t, "add", s.Add(a, 1, r|w, trigger))
		want(t, next(t, s), 1, selector.WritableFlag)
		send(t, b, "x")
		none(t, s)
		s.Rearm(a, 1, r|w)
		none(t, s)
		check(t, "modify", s.Modify(a, 1, 2, r, trigger))
		want(t, next(t, s), 2, selector.ReadableFlag)
		none(t, s)
		check(t, "delete", s.Delete(a, 2))
	}
}

// TestInterestGrows: Q1. A poll that asks for too little is replaced, also while
// another goroutine sleeps in Wait; one that asks for too much is filtered.
func TestInterestGrows(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	got := make(chan selector.Event)
	go func() {
		var evs [4]selector.Event
		for {
			n, err := s.Wait(evs[:], soon)
			if n > 0 || err != nil {
				got <- evs[0]
				return
			}
		}
	}()
	asleep(t, s, 1)
	check(t, "modify", s.Modify(a, 1, 2, r|w, edge))
	want(t, <-got, 2, selector.WritableFlag)

	check(t, "modify", s.Modify(a, 2, 3, r|w, oneshot))
	want(t, next(t, s), 3, selector.WritableFlag)
	check(t, "modify", s.Modify(a, 3, 4, r, edge))
	check(t, "modify", s.Modify(a, 4, 5, selector.Priority, edge))
	send(t, b, "x")
	arrived(t, a, 1)
	none(t, s)
}

// asleep waits until n calls of Wait sleep.
func asleep(t testing.TB, s *Selector, n int32) {
	t.Helper()
	for end := time.Now().Add(soon); s.sleep.count.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d calls of Wait sleep, want %d", s.sleep.count.Load(), n)
		}
	}
}

// TestExisting: Q9. A second Add returns ErrExists, Add of another file than a socket
// ErrNotPollable.
func TestExisting(t *testing.T) {
	s := open(t)
	a, _ := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	if err := s.Add(a, 2, r, edge); !errors.Is(err, selector.ErrExists) {
		t.Error("second add:", err)
	}
	check(t, "delete", s.Delete(a, 1))
	check(t, "add after delete", s.Add(a, 3, r, edge))
	if err := s.Delete(a, 1); err == nil {
		t.Error("delete with an old key succeeded")
	}
	f, err := os.Open(os.Args[0])
	check(t, "open", err)
	defer f.Close()
	if err := s.Add(sys.FD(f.Fd()), 4, r, edge); !errors.Is(err, selector.ErrNotPollable) {
		t.Error("a file:", err)
	} else {
		t.Log(err)
	}
	pr, pw, err := os.Pipe()
	check(t, "pipe", err)
	defer pr.Close()
	defer pw.Close()
	if err := s.Add(sys.FD(pr.Fd()), 5, r, edge); !errors.Is(err, selector.ErrNotPollable) {
		t.Error("a pipe:", err)
	}
}

// TestEnds: the end of a connection is reported once, whatever the interest is, also
// when a direction has been reported and not drained.
func TestEnds(t *testing.T) {
	s := open(t)
	a, b := pair(t)
	defer sys.Close(a)
	check(t, "add", s.Add(a, 1, w, edge))
	want(t, next(t, s), 1, selector.WritableFlag)
	none(t, s)
	sys.SetLinger(b, true, 0)
	sys.Close(b) // RST
	if ev := next(t, s); ev.Flags&(selector.WriteClosed|selector.WritableFlag) != selector.WriteClosed|selector.WritableFlag {
		t.Errorf("after RST: %b", ev.Flags)
	}
	none(t, s)

	c, d := pair(t)
	defer sys.Close(c)
	check(t, "add", s.Add(c, 2, r, edge))
	send(t, d, "x")
	want(t, next(t, s), 2, selector.ReadableFlag)
	none(t, s)
	if sys.OnWine() {
		t.Log("FIN after unread bytes: not tested, Wine reports it when they have been read")
		drain(t, c)
		s.Rearm(c, 2, r)
	}
	sys.Close(d) // FIN after an unread byte
	if ev := next(t, s); ev.Key != 2 || ev.Flags&selector.ReadClosed == 0 {
		t.Errorf("after FIN: %+v", ev)
	}
	none(t, s)
}

// TestRetry: a poll that AFD had no resources for is started by a later Wait.
func TestRetry(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	send(t, b, "x")
	want(t, next(t, s), 1, selector.ReadableFlag)
	drain(t, a)

	failures := 3
	s.startPoll = func(device, base sys.FD, p *sys.AFDPoll, events uint32, context uintptr) sys.NTStatus {
		if failures > 0 {
			failures--
			return sys.STATUS_INSUFFICIENT_RESOURCES
		}
		return sys.StartPoll(device, base, p, events, context)
	}
	s.Rearm(a, 1, r)
	send(t, b, "y")
	want(t, next(t, s), 1, selector.ReadableFlag)

	failures = 1
	c, _ := testPair(t)
	if err := s.Add(c, 2, r, edge); err == nil {
		t.Error("add without resources succeeded")
	} else {
		t.Log(err)
	}
	check(t, "add again", s.Add(c, 3, r, edge))
}

// failing returns two functions: fail makes s fail to start the next n polls for lack of
// resources, left returns how many of these failures have not happened yet.
func failing(s *Selector) (fail func(n int32), left func() int32) {
	var failures atomic.Int32
	s.startPoll = func(device, base sys.FD, p *sys.AFDPoll, events uint32, context uintptr) sys.NTStatus {
		if failures.Add(-1) >= 0 {
			return sys.STATUS_INSUFFICIENT_RESOURCES
		}
		failures.Add(1)
		return sys.StartPoll(device, base, p, events, context)
	}
	return failures.Store, failures.Load
}

// sleeper calls Wait in a goroutine, without a timeout, and returns when it sleeps.
func sleeper(t *testing.T, s *Selector) <-chan selector.Event {
	t.Helper()
	found := make(chan selector.Event, 1)
	go func() {
		var evs [1]selector.Event
		for {
			if n, err := s.Wait(evs[:], -1); n == 1 || err != nil || s.sleep.Ending() {
				found <- evs[0]
				return
			}
		}
	}()
	for s.sleep.count.Load() == 0 {
		runtime.Gosched()
	}
	return found
}

func found(t *testing.T, what string, events <-chan selector.Event) selector.Event {
	t.Helper()
	select {
	case ev := <-events:
		return ev
	case <-time.After(soon):
		t.Error(what + ": Wait did not return")
	}
	return selector.Event{}
}

// TestTransientFailureWakesSleeper: Q1, Q2. AFD has no resources for the poll that Modify
// needs, while a Wait sleeps without a timeout and no poll is in flight. Modify succeeds,
// and that Wait tries again, so no event is lost.
func TestTransientFailureWakesSleeper(t *testing.T) {
	s := open(t)
	fail, left := failing(s)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, oneshot))
	send(t, b, "x")
	want(t, next(t, s), 1, selector.ReadableFlag)
	events := sleeper(t, s)
	fail(2)
	check(t, "modify", s.Modify(a, 1, 2, r, oneshot))
	if ev := found(t, "unread data after Modify", events); ev.Key != 2 || ev.Flags&selector.ReadableFlag == 0 {
		t.Errorf("%+v, want Readable of key 2", ev)
	}
	if n := left(); n > 0 {
		t.Errorf("%d failures are left", n)
	}
	s.NotifyAll()
}

// TestTransientFailureOfGuard: Q8. AFD has no resources for the poll that watches for the end
// of a connection that is not drained; the end is reported nevertheless.
func TestTransientFailureOfGuard(t *testing.T) {
	s := open(t)
	fail, left := failing(s)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	send(t, b, "x")
	want(t, next(t, s), 1, selector.ReadableFlag)
	fail(2)
	events := sleeper(t, s)
	for end := time.Now().Add(soon); left() > 0 && time.Now().Before(end); {
		runtime.Gosched()
	}
	drain(t, a) // without Rearm; Wine reports a FIN after unread bytes only when they are read
	if e := sys.Shutdown(b, sys.SHUT_WR); e != 0 {
		t.Fatal(e)
	}
	if ev := found(t, "the peer's FIN", events); ev.Flags&selector.ReadClosed == 0 {
		t.Errorf("%+v, want ReadClosed", ev)
	}
	if n := left(); n > 0 {
		t.Errorf("%d failures are left: the guard was not tried again", n)
	}
	s.NotifyAll()
}

// TestTimeout: Q6. Wait never returns early.
func TestTimeout(t *testing.T) {
	s := open(t)
	var evs [1]selector.Event
	for _, d := range []time.Duration{1, 100 * time.Microsecond, time.Millisecond, 3*time.Millisecond + 1, 20 * time.Millisecond} {
		for range 5 {
			start := time.Now()
			n, err := s.Wait(evs[:], d)
			if took := time.Since(start); n != 0 || err != nil || took < d {
				t.Errorf("%v: %d, %v after %v", d, n, err, took)
			}
		}
	}
}

// TestNoAllocations: Q10.
func TestNoAllocations(t *testing.T) {
	s := open(t)
	a, b := testPair(t)
	check(t, "add", s.Add(a, 1, r, edge))
	var evs [8]selector.Event
	var buf [8]byte
	turn := func() {
		sys.Send(b, buf[:1], 0)
		for n := 0; n == 0; {
			n, _ = s.Wait(evs[:], soon)
		}
		sys.Recv(a, buf[:], 0)
		s.Rearm(a, 1, r)
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n > 0 {
		t.Errorf("%v allocations per round", n)
	}
	key := selector.Key(1)
	if n := testing.AllocsPerRun(100, func() {
		s.Modify(a, key, key+1, r, edge)
		key++
	}); n > 0 {
		t.Errorf("%v allocations per Modify", n)
	}
}
