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

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// The suite of the queue runs on this backend, too (conformance_test.go in the root
// package). Here is what is special to poll(2).

const (
	edge     = selector.Trigger(0)
	readable = selector.Readable
	writable = selector.Writable

	// deadline bounds what must happen, settle what must not.
	deadline = 10 * time.Second
	settle   = 100 * time.Millisecond
)

type bench struct {
	testing.TB
	*Selector
}

func open(t testing.TB) bench {
	t.Helper()
	s, err := Open(selector.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return bench{t, s}
}

func (b bench) no(e syscall.Errno) {
	b.Helper()
	if e != 0 {
		b.Fatal(e)
	}
}

func (b bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b bench) pair() (x, y sys.FD) {
	b.Helper()
	p, e := sys.Socketpair(sys.SOCK_STREAM)
	b.no(e)
	b.Cleanup(func() { sys.Close(p[0]); sys.Close(p[1]) })
	return p[0], p[1]
}

func (b bench) write(fd sys.FD) {
	b.Helper()
	_, e := sys.Write(fd, []byte("x"))
	b.no(e)
}

// drain reads to would-block and says so, as sources do.
func (b bench) drain(fd sys.FD, key selector.Key) {
	b.Helper()
	for {
		if _, e := sys.Read(fd, make([]byte, 16)); e != 0 {
			b.Blocked(fd, key, readable)
			return
		}
	}
}

// take is one Wait with room for that many events.
func (b bench) take(room int, timeout time.Duration) []selector.Event {
	b.Helper()
	events := make([]selector.Event, room)
	n, err := b.Wait(events, timeout)
	b.must(err)
	return events[:n]
}

// one expects one event, of key.
func (b bench) one(what string, key selector.Key) selector.Flags {
	b.Helper()
	got := b.take(8, deadline)
	if len(got) != 1 || got[0].Key != key {
		b.Fatalf("%s: %v, want one event of key %d", what, got, key)
	}
	return got[0].Flags
}

// asleep expects that nothing is told, and that waiting for it costs no processor
// time.
func (b bench) asleep(why string) {
	b.Helper()
	used := cpuTime()
	if got := b.take(8, settle); len(got) != 0 {
		b.Errorf("%s, but there was %v", why, got)
	}
	if spent := cpuTime() - used; spent > settle/2 {
		b.Errorf("%s, but waiting for %v took %v of processor time", why, settle, spent)
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// sleeper has a Wait sleep in the background, and returns when it leads.
func (b bench) sleeper(timeout time.Duration) <-chan []selector.Event {
	b.Helper()
	got := make(chan []selector.Event, 1)
	go func() { got <- b.take(8, timeout) }()
	b.until("a waiter leads", func() bool { return b.lead.active })
	return got
}

// until waits for ok, which is called with the selector locked.
func (b bench) until(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(deadline); ; runtime.Gosched() {
		b.mu.Lock()
		done := ok()
		b.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("not within %v: %s", deadline, what)
		}
	}
}

func (b bench) end(what string, got <-chan []selector.Event) []selector.Event {
	b.Helper()
	select {
	case events := <-got:
		return events
	case <-time.After(deadline):
		stacks := make([]byte, 1<<16)
		b.Fatalf("%s: the Wait sleeps on\n%s", what, stacks[:runtime.Stack(stacks, true)])
		return nil
	}
}

// TestHangUpOfUndrainedEdge: poll(2) tells a hang-up whether asked for or not. It
// must be told once, and again when the source has run dry: Q2, Q8.
func TestHangUpOfUndrainedEdge(t *testing.T) {
	b := open(t)
	x, y := b.pair()
	b.must(b.Add(x, 1, readable|writable, edge))
	b.write(y)
	b.one("data, and room", 1)
	b.asleep("both edges have been told")
	b.no(sys.Close(y))
	if f := b.one("the peer's end", 1); f&selector.ReadClosed == 0 || f&selector.ReadableFlag == 0 {
		t.Errorf("the peer's end: flags %#x, want ReadClosed and Readable", f)
	}
	b.asleep("the end has been told")
	b.Blocked(x, 1, readable)
	b.one("the end, after a would-block", 1)
	b.asleep("the end has been told again")
	b.must(b.Modify(x, 1, 2, readable, edge))
	b.one("the end, after Modify", 2)
	b.asleep("and that is all")
}

// TestErrorOfUnarmedEdge: nothing is armed, and the reader of a pipe goes.
func TestErrorOfUnarmedEdge(t *testing.T) {
	b := open(t)
	r, w, e := sys.Pipe()
	b.no(e)
	t.Cleanup(func() { sys.Close(w) })
	b.must(b.Add(w, 1, writable, edge))
	b.one("room", 1)
	b.asleep("the edge has been told")
	got := b.sleeper(deadline)
	b.no(sys.Close(r))
	if events := b.end("the reader is gone", got); len(events) != 1 || events[0].Flags&(selector.Error|selector.WriteClosed) == 0 {
		t.Errorf("the reader is gone: %v, want Error or WriteClosed", events)
	}
	b.asleep("the reader's end has been told")
}

// TestClosedBehindOurBack: a descriptor that is closed without Delete is
// forgotten.
func TestClosedBehindOurBack(t *testing.T) {
	for _, trigger := range []selector.Trigger{edge, selector.Level, selector.Oneshot} {
		b := open(t)
		p, e := sys.Socketpair(sys.SOCK_STREAM)
		b.no(e)
		t.Cleanup(func() { sys.Close(p[1]) })
		other, peer := b.pair()
		b.must(b.Add(p[0], 1, readable, trigger))
		b.must(b.Add(other, 2, readable, edge))
		b.no(sys.Close(p[0]))
		b.asleep("a closed descriptor has nothing to tell")
		if n := len(b.watches); n != 1 {
			t.Errorf("%d registrations, want 1", n)
		}
		if err := b.Modify(p[0], 1, 3, readable, trigger); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Modify: %v, want EBADF", err)
		}
		b.write(peer)
		b.one("the other descriptor", 2)
	}
}

// TestReusedNumber: results of a round do not count for a descriptor that got its
// number later: Q4.
func TestReusedNumber(t *testing.T) {
	b := open(t)
	x, y := b.pair()
	other, peer := b.pair()
	b.must(b.Add(other, 1, readable, selector.Level))
	b.must(b.Add(x, 2, readable, selector.Level))
	b.write(peer)
	b.write(y)
	if got := b.take(1, deadline); len(got) != 1 || got[0].Key != 1 {
		t.Fatalf("%v, want key 1", got)
	}
	// What is known of x is in the batch.
	b.must(b.Delete(x, 2))
	b.drain(x, 2)
	b.must(b.Add(x, 3, readable, selector.Level))
	b.drain(other, 1)
	b.asleep("nothing is ready now")
}

// TestStaleResult: a result from before a would-block is none.
func TestStaleResult(t *testing.T) {
	for _, trigger := range []selector.Trigger{edge, selector.Level} {
		b := open(t)
		x, y := b.pair()
		other, peer := b.pair()
		b.must(b.Add(other, 1, readable, edge))
		b.must(b.Add(x, 2, readable, trigger))
		b.write(peer)
		b.write(y)
		if got := b.take(1, deadline); len(got) != 1 || got[0].Key != 1 {
			t.Fatalf("%v, want key 1", got)
		}
		b.drain(x, 2)
		b.asleep("somebody has drained the source")
		b.write(y)
		b.one("news", 2)
	}
}

// TestLittleRoom: who has little room passes nobody over, and who has more is told
// every level.
func TestLittleRoom(t *testing.T) {
	const sources = 10
	b := open(t)
	for key := range selector.Key(sources) {
		x, y := b.pair()
		b.must(b.Add(x, key, readable, selector.Level))
		b.write(y)
	}
	for range 3 {
		told := map[selector.Key]bool{}
		for range sources {
			for _, ev := range b.take(1, deadline) {
				told[ev.Key] = true
			}
		}
		if len(told) != sources {
			t.Errorf("%d sources were told in as many events, want %d", len(told), sources)
		}
		b.take(3, deadline)
		told = map[selector.Key]bool{}
		got := b.take(64, deadline)
		for _, ev := range got {
			told[ev.Key] = true
		}
		if len(got) != sources || len(told) != sources {
			t.Errorf("%d events of %d sources, want one of each of %d", len(got), len(told), sources)
		}
	}
}

// TestChangesWakeTheLeader: Q1, while a waiter sleeps.
func TestChangesWakeTheLeader(t *testing.T) {
	b := open(t)
	x, y := b.pair()
	b.write(y)
	got := b.sleeper(-1)
	b.must(b.Add(x, 1, readable, selector.Oneshot))
	b.end("Add", got)

	got = b.sleeper(-1)
	b.must(b.Modify(x, 1, 2, readable, edge))
	b.end("Modify", got)

	got = b.sleeper(-1)
	b.Blocked(x, 2, readable)
	b.end("Blocked", got)

	got = b.sleeper(-1)
	b.must(b.Notify())
	if events := b.end("Notify", got); len(events) != 0 {
		t.Errorf("Notify: %v", events)
	}
	b.asleep("the notice has been taken")
}

// TestFollowers: the deadline, the notices and the readiness of those who are not
// in poll(2) themselves: Q3, Q6.
func TestFollowers(t *testing.T) {
	b := open(t)
	leader := b.sleeper(-1)
	follower := make(chan []selector.Event, 1)
	for range 3 {
		start := time.Now()
		go func() { follower <- b.take(8, settle) }()
		got := b.end("a follower with a deadline", follower)
		if took := time.Since(start); len(got) != 0 || took < settle {
			t.Errorf("%v after %v, want nothing after %v", got, took, settle)
		}
	}

	x, y := b.pair()
	b.must(b.Add(x, 1, readable, selector.Level))
	go func() { follower <- b.take(8, -1) }()
	b.until("a waiter follows", func() bool { return len(b.lead.followers) == 1 })
	b.write(y)
	if got := b.take(8, 0); len(got) != 1 {
		t.Errorf("Wait(0) beside a leader: %v, want the level", got)
	}
	for _, got := range [][]selector.Event{b.end("the leader", leader), b.end("the follower", follower)} {
		if len(got) != 1 || got[0].Key != 1 {
			t.Errorf("%v, want the level", got)
		}
	}
	b.must(b.Delete(x, 1))

	leader = b.sleeper(-1)
	go func() { follower <- b.take(8, -1) }()
	b.until("a waiter follows", func() bool { return len(b.lead.followers) == 1 })
	b.must(b.NotifyAll())
	b.end("NotifyAll, the leader", leader)
	b.end("NotifyAll, the follower", follower)
}

// TestDeleteLetsGo: once Delete has returned, closing frees the port at once,
// although the kernel keeps open what a sleeping poll(2) watches.
func TestDeleteLetsGo(t *testing.T) {
	b := open(t)
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	got := b.sleeper(-1)
	for range 50 {
		l, err := sock.ListenTCP(addr)
		b.must(err)
		addr = l.Addr()
		fd, ok := l.PollHandle().Use()
		if !ok {
			t.Fatal("the listener is closed")
		}
		b.must(b.Add(fd, 1, readable, edge))
		b.until("the leader sleeps on it", func() bool { w := b.find(fd); return w != nil && b.sleepsWith(w) })
		b.must(b.Delete(fd, 1))
		l.PollHandle().Done()
		b.must(l.Close())
	}
	b.must(b.Notify())
	b.end("Notify", got)
}

// TestRefused: Q9, before the root package has looked.
func TestRefused(t *testing.T) {
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
	b.no(e)
	b.no(sys.Close(p[0]))
	b.no(sys.Close(p[1]))
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
