//go:build unix

package poll

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// The conformance suite runs on this backend as well (conformance_test.go in the root
// package). These tests are for what is specific to poll(2).

const (
	edge     = selector.Trigger(0)
	readable = selector.Readable
	writable = selector.Writable

	// deadline is how long a test waits for what must happen, settle for what must not.
	deadline = testkit.Watchdog
	settle   = 100 * time.Millisecond
)

type fixture struct {
	testing.TB
	*Selector
}

func open(t testing.TB) fixture {
	t.Helper()
	s, err := Open(selector.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return fixture{t, s}
}

func (b fixture) noErrno(e syscall.Errno) {
	b.Helper()
	if e != 0 {
		b.Fatal(e)
	}
}

func (b fixture) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b fixture) pair() (x, y sys.FD) {
	b.Helper()
	p, e := sys.Socketpair(sys.SOCK_STREAM)
	b.noErrno(e)
	b.Cleanup(func() { sys.Close(p[0]); sys.Close(p[1]) })
	return p[0], p[1]
}

func (b fixture) write(fd sys.FD) {
	b.Helper()
	_, e := sys.Write(fd, []byte("x"))
	b.noErrno(e)
}

// drain reads until a read would block and calls Rearm, as sources do.
func (b fixture) drain(fd sys.FD, key selector.Key) {
	b.Helper()
	for {
		if _, e := sys.Read(fd, make([]byte, 16)); e != 0 {
			b.Rearm(fd, key, readable)
			return
		}
	}
}

// waitEvents calls Wait once, for up to size events.
func (b fixture) waitEvents(size int, timeout time.Duration) []selector.Event {
	b.Helper()
	events := make([]selector.Event, size)
	n, err := b.Wait(events, timeout)
	b.must(err)
	return events[:n]
}

// expectOne expects exactly one event, with key.
func (b fixture) expectOne(what string, key selector.Key) selector.Flags {
	b.Helper()
	got := b.waitEvents(8, deadline)
	if len(got) != 1 || got[0].Key != key {
		b.Fatalf("%s: %v, want one event of key %d", what, got, key)
	}
	return got[0].Flags
}

// expectNone expects that Wait returns no event and uses no processor time.
func (b fixture) expectNone(why string) {
	b.Helper()
	used, _ := testkit.CPUTime()
	if got := b.waitEvents(8, settle); len(got) != 0 {
		b.Errorf("%s, but Wait returned %v", why, got)
	}
	if now, _ := testkit.CPUTime(); now-used > settle/2 {
		b.Errorf("%s, but waiting for %v took %v of processor time", why, settle, now-used)
	}
}

// startLeader calls Wait in a goroutine, and returns when that Wait leads.
func (b fixture) startLeader(timeout time.Duration) <-chan []selector.Event {
	b.Helper()
	got := make(chan []selector.Event, 1)
	go func() { got <- b.waitEvents(8, timeout) }()
	b.waitUntil("a waiter leads", func() bool { return b.lead.active })
	return got
}

// waitUntil waits until ok returns true. It holds the selector's lock during the call.
func (b fixture) waitUntil(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(deadline); ; runtime.Gosched() {
		b.mu.Lock()
		done := ok()
		b.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("condition not met within %v: %s", deadline, what)
		}
	}
}

func (b fixture) result(what string, got <-chan []selector.Event) []selector.Event {
	b.Helper()
	select {
	case events := <-got:
		return events
	case <-time.After(deadline):
		b.Fatalf("%s: Wait did not return\n%s", what, testkit.Stacks())
		return nil
	}
}

// TestHangUpOfUndrainedEdge: poll(2) reports a hang-up whether asked for or not. The
// selector must report it once, and again after the source is drained: Q2, Q8.
func TestHangUpOfUndrainedEdge(t *testing.T) {
	b := open(t)
	x, y := b.pair()
	b.must(b.Add(x, 1, readable|writable, edge))
	b.write(y)
	b.expectOne("readable and writable", 1)
	b.expectNone("both edges have been reported")
	b.noErrno(sys.Close(y))
	if f := b.expectOne("the peer's close", 1); f&selector.ReadClosed == 0 || f&selector.ReadableFlag == 0 {
		t.Errorf("the peer's close: flags %#x, want ReadClosed and Readable", f)
	}
	b.expectNone("the peer's close has been reported")
	b.Rearm(x, 1, readable)
	b.expectOne("the peer's close, after Rearm", 1)
	b.expectNone("the peer's close has been reported again")
	b.must(b.Modify(x, 1, 2, readable, edge))
	b.expectOne("the peer's close, after Modify", 2)
	b.expectNone("the peer's close has been reported after Modify")
}

// TestErrorOfUnarmedEdge: nothing is armed when the reader of a pipe is closed.
func TestErrorOfUnarmedEdge(t *testing.T) {
	b := open(t)
	r, w, e := sys.Pipe()
	b.noErrno(e)
	t.Cleanup(func() { sys.Close(w) })
	b.must(b.Add(w, 1, writable, edge))
	b.expectOne("writable", 1)
	b.expectNone("the edge has been reported")
	got := b.startLeader(deadline)
	b.noErrno(sys.Close(r))
	if events := b.result("the reader is closed", got); len(events) != 1 || events[0].Flags&(selector.Failed|selector.WriteClosed) == 0 {
		t.Errorf("the reader is closed: %v, want Error or WriteClosed", events)
	}
	b.expectNone("the reader's close has been reported")
}

// TestClosedWithoutDelete: the selector removes a descriptor that is closed
// without Delete.
func TestClosedWithoutDelete(t *testing.T) {
	for _, trigger := range []selector.Trigger{edge, selector.Level, selector.Oneshot} {
		b := open(t)
		p, e := sys.Socketpair(sys.SOCK_STREAM)
		b.noErrno(e)
		t.Cleanup(func() { sys.Close(p[1]) })
		other, peer := b.pair()
		b.must(b.Add(p[0], 1, readable, trigger))
		b.must(b.Add(other, 2, readable, edge))
		b.noErrno(sys.Close(p[0]))
		b.expectNone("a closed descriptor is not ready")
		if n := len(b.watches); n != 1 {
			t.Errorf("%d registrations, want 1", n)
		}
		if err := b.Modify(p[0], 1, 3, readable, trigger); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Modify: %v, want EBADF", err)
		}
		b.write(peer)
		b.expectOne("the other descriptor", 2)
	}
}

// TestReusedNumber: results of a round are ignored for a registration that was made
// after it under the same descriptor number: Q4.
func TestReusedNumber(t *testing.T) {
	b := open(t)
	x, y := b.pair()
	other, peer := b.pair()
	b.must(b.Add(other, 1, readable, selector.Level))
	b.must(b.Add(x, 2, readable, selector.Level))
	b.write(peer)
	b.write(y)
	if got := b.waitEvents(1, deadline); len(got) != 1 || got[0].Key != 1 {
		t.Fatalf("%v, want key 1", got)
	}
	// The result for x is left in the batch.
	b.must(b.Delete(x, 2))
	b.drain(x, 2)
	b.must(b.Add(x, 3, readable, selector.Level))
	b.drain(other, 1)
	b.expectNone("nothing is ready now")
}

// TestStaleResult: a result that is older than a call of Rearm is ignored.
func TestStaleResult(t *testing.T) {
	for _, trigger := range []selector.Trigger{edge, selector.Level} {
		b := open(t)
		x, y := b.pair()
		other, peer := b.pair()
		b.must(b.Add(other, 1, readable, edge))
		b.must(b.Add(x, 2, readable, trigger))
		b.write(peer)
		b.write(y)
		if got := b.waitEvents(1, deadline); len(got) != 1 || got[0].Key != 1 {
			t.Fatalf("%v, want key 1", got)
		}
		b.drain(x, 2)
		b.expectNone("the source is drained")
		b.write(y)
		b.expectOne("new data", 2)
	}
}

// TestSmallEventSlice: calls of Wait with space for one event skip no source, and a call with
// space for all reports every level.
func TestSmallEventSlice(t *testing.T) {
	const sources = 10
	b := open(t)
	for key := range selector.Key(sources) {
		x, y := b.pair()
		b.must(b.Add(x, key, readable, selector.Level))
		b.write(y)
	}
	for range 3 {
		seen := map[selector.Key]bool{}
		for range sources {
			for _, ev := range b.waitEvents(1, deadline) {
				seen[ev.Key] = true
			}
		}
		if len(seen) != sources {
			t.Errorf("%d Waits for one event reported %d sources, want each", sources, len(seen))
		}
		b.waitEvents(3, deadline)
		seen = map[selector.Key]bool{}
		got := b.waitEvents(64, deadline)
		for _, ev := range got {
			seen[ev.Key] = true
		}
		if len(got) != sources || len(seen) != sources {
			t.Errorf("%d events of %d sources, want one of each of %d", len(got), len(seen), sources)
		}
	}
}

// TestChangesWakeTheLeader: Q1, while the leader sleeps.
func TestChangesWakeTheLeader(t *testing.T) {
	b := open(t)
	x, y := b.pair()
	b.write(y)
	got := b.startLeader(-1)
	b.must(b.Add(x, 1, readable, selector.Oneshot))
	b.result("Add", got)

	got = b.startLeader(-1)
	b.must(b.Modify(x, 1, 2, readable, edge))
	b.result("Modify", got)

	got = b.startLeader(-1)
	b.Rearm(x, 2, readable)
	b.result("Rearm", got)

	got = b.startLeader(-1)
	b.must(b.Notify())
	if events := b.result("Notify", got); len(events) != 0 {
		t.Errorf("Notify: %v", events)
	}
	b.expectNone("the notice has been taken")
}

// TestFollowers: deadlines, notices and readiness reach waiters that are not in
// poll(2) themselves: Q3, Q6.
func TestFollowers(t *testing.T) {
	b := open(t)
	leader := b.startLeader(-1)
	follower := make(chan []selector.Event, 1)
	for range 3 {
		start := time.Now()
		go func() { follower <- b.waitEvents(8, settle) }()
		got := b.result("a follower with a deadline", follower)
		if took := time.Since(start); len(got) != 0 || took < settle {
			t.Errorf("%v after %v, want nothing after %v", got, took, settle)
		}
	}

	x, y := b.pair()
	b.must(b.Add(x, 1, readable, selector.Level))
	go func() { follower <- b.waitEvents(8, -1) }()
	b.waitUntil("a waiter follows", func() bool { return len(b.lead.followers) == 1 })
	b.write(y)
	if got := b.waitEvents(8, 0); len(got) != 1 {
		t.Errorf("Wait(0) beside a leader: %v, want the level", got)
	}
	for _, got := range [][]selector.Event{b.result("the leader", leader), b.result("the follower", follower)} {
		if len(got) != 1 || got[0].Key != 1 {
			t.Errorf("%v, want the level", got)
		}
	}
	b.must(b.Delete(x, 1))

	leader = b.startLeader(-1)
	go func() { follower <- b.waitEvents(8, -1) }()
	b.waitUntil("a waiter follows", func() bool { return len(b.lead.followers) == 1 })
	b.must(b.NotifyAll())
	b.result("NotifyAll, the leader", leader)
	b.result("NotifyAll, the follower", follower)
}

// TestDeleteReleasesFile: after Delete has returned, closing the listener frees its port
// immediately, although the kernel keeps open what a sleeping poll(2) watches.
func TestDeleteReleasesFile(t *testing.T) {
	b := open(t)
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	got := b.startLeader(-1)
	for range 50 {
		l, err := sock.ListenTCP(addr)
		b.must(err)
		addr = l.Addr()
		fd, ok := handle.Of(l).Use()
		if !ok {
			t.Fatal("the listener is closed")
		}
		b.must(b.Add(fd, 1, readable, edge))
		b.waitUntil("the leader sleeps on it", func() bool { w := b.findLocked(fd); return w != nil && b.leaderPollsLocked(w) })
		b.must(b.Delete(fd, 1))
		handle.Of(l).Done()
		b.must(l.Close())
	}
	b.must(b.Notify())
	b.result("Notify", got)
}

// TestAddErrors: Q9, without the checks of the root package.
func TestAddErrors(t *testing.T) {
	b := open(t)
	x, _ := b.pair()
	b.must(b.Add(x, 1, readable, edge))
	file, err := os.Create(t.TempDir() + "/file")
	b.must(err)
	defer file.Close()
	dir, err := os.Open(t.TempDir())
	b.must(err)
	defer dir.Close()
	p, e := sys.Socketpair(sys.SOCK_STREAM)
	b.noErrno(e)
	b.noErrno(sys.Close(p[0]))
	b.noErrno(sys.Close(p[1]))
	for _, c := range []struct {
		what string
		fd   sys.FD
		want error
	}{
		{"a descriptor twice", x, selector.ErrExists},
		{"a regular file", sys.FD(file.Fd()), selector.ErrNotPollable},
		{"a directory", sys.FD(dir.Fd()), selector.ErrNotPollable},
		{"a closed descriptor", p[1], syscall.EBADF},
		{"no descriptor", sys.InvalidFD, syscall.EBADF},
	} {
		if err := b.Add(c.fd, 2, readable, edge); !errors.Is(err, c.want) {
			t.Errorf("Add of %s: %v, want %v", c.what, err, c.want)
		}
	}
	if len(b.watches) != 1 {
		t.Errorf("%d registrations, want 1", len(b.watches))
	}
}
