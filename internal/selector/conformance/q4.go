package conformance

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Q4: no event after Deregister, nor after a descriptor's number is reused.
func (u *suite) q4() []test {
	return tests(
		test{"no event after Deregister with unread data", u.noEventAfterDeregister},
		test{"no event after Close with unread data", u.noEventAfterClose},
		test{"no stale event under a storm of registrations", func(t *testing.T) { u.storm(t, 0) }},
		test{"no stale event when generations run out", func(t *testing.T) { u.storm(t, 4) }},
		test{"closing neighbours in one batch", u.closeNeighbours},
		test{"64 sources closed together", u.closeMany},
		test{"a duplicate keeps no registration alive", u.duplicateOutlives},
		test{"a duplicate closed elsewhere changes nothing", u.duplicateCloses},
	)
}

func (u *suite) noEventAfterDeregister(t *testing.T) {
	for _, trigger := range []pollux.Trigger{pollux.Edge, pollux.Level, pollux.Oneshot} {
		q := u.poll(t)
		a, b := u.pair(t)
		must(t, q.Register(a, 1, pollux.Readable|pollux.Writable, trigger))
		write(t, b, "x")
		must(t, q.Deregister(a))
		u.strictlyQuiet(t, q)
		write(t, b, "x")
		u.strictlyQuiet(t, q)
	}
}

func (u *suite) strictlyQuiet(t *testing.T, q *pollux.Poll) {
	t.Helper()
	events := make([]pollux.Event, 4)
	if n, err := q.Wait(events, settle); n != 0 || err != nil {
		t.Fatalf("Wait = %v, %v; nothing is registered", events[:n], err)
	}
}

func (u *suite) noEventAfterClose(t *testing.T) {
	q := u.poll(t)
	for range 30 {
		a, b := u.pair(t)
		must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
		write(t, b, "x")
		a.Close()
		// The next pair is likely to get the number of a.
		c, _ := u.pair(t)
		must(t, q.Register(c, 2, pollux.Readable, pollux.Edge))
		for _, ev := range collect(t, q) {
			t.Fatalf("%v: token 1 is closed, and token 2 has nothing to read", ev)
		}
		must(t, q.Deregister(c))
	}
}

// storm registers and deregisters new sockets in several goroutines, each
// registration under a token of its own, while other goroutines wait. clock orders
// the ends of registrations and the starts of Waits: an event of a registration that
// ended before the Wait started is stale.
func (u *suite) storm(t *testing.T, generations uint64) {
	const workers = 8
	duration := 300 * time.Millisecond
	if testkit.Long() {
		duration = 20 * time.Second
	}
	limited := u.queue(t, selector.Config{})
	if generations > 0 {
		limited.Limit(generations, 1<<selector.SlotBits)
	}
	q := over(t, limited)
	var clock atomic.Int64
	var ended sync.Map // token → clock when its registration had ended
	var tokens atomic.Uint64
	var wg, watchers sync.WaitGroup
	for range 3 {
		watchers.Go(func() {
			events := make([]pollux.Event, 16)
			for {
				began := clock.Add(1)
				n, err := q.Wait(events, pollux.Forever)
				if err != nil {
					return
				}
				for _, ev := range events[:n] {
					if end, ok := ended.Load(ev.Token()); ok && end.(int64) < began {
						t.Errorf("%v from a Wait that started after its registration had ended", ev)
					}
				}
			}
		})
	}
	stop := time.Now().Add(duration)
	for range workers {
		wg.Go(func() {
			for i := 0; time.Now().Before(stop); i++ {
				tok := pollux.Token(tokens.Add(1))
				a, b, err := u.Pair()
				if err != nil {
					t.Errorf("pair: %v", err)
					return
				}
				b.Write([]byte("x"))
				if err := q.Register(a, tok, pollux.Readable|pollux.Writable, pollux.Edge); err != nil {
					t.Errorf("Register: %v", err)
				}
				switch i % 3 {
				case 0:
					if err := q.Deregister(a); err != nil {
						t.Errorf("Deregister: %v", err)
					}
					ended.Store(tok, clock.Add(1))
					a.Close()
				case 1:
					a.Close()
					ended.Store(tok, clock.Add(1))
				case 2:
					fresh := pollux.Token(tokens.Add(1))
					if err := q.Reregister(a, fresh, pollux.Readable, pollux.Edge); err != nil {
						t.Errorf("Reregister: %v", err)
					}
					ended.Store(tok, clock.Add(1))
					a.Close()
					ended.Store(fresh, clock.Add(1))
				}
				b.Close()
			}
		})
	}
	wg.Wait()
	must(t, q.Close())
	watchers.Wait()
	t.Logf("%d registrations", tokens.Load())
}

func (u *suite) closeNeighbours(t *testing.T) {
	q := u.poll(t)
	const n = 8
	var a [n]Stream
	for i := range a {
		var b Stream
		a[i], b = u.pair(t)
		must(t, q.Register(a[i], pollux.Token(i), pollux.Readable, pollux.Level))
		write(t, b, "x")
	}
	ev := next(t, q, "any of the eight", func(pollux.Event) bool { return true })
	for i := range a {
		if pollux.Token(i) != ev.Token() {
			a[i].Close()
		}
	}
	for range 5 {
		for _, other := range collect(t, q) {
			if other.Token() != ev.Token() {
				t.Errorf("%v of a source that was closed after the first event", other)
			}
		}
	}
}

func (u *suite) closeMany(t *testing.T) {
	q := u.poll(t)
	const n = 64
	var a [n]Stream
	for i := range a {
		var b Stream
		a[i], b = u.pair(t)
		must(t, q.Register(a[i], pollux.Token(i), pollux.Readable|pollux.Writable, pollux.Level))
		write(t, b, "x")
	}
	var wg sync.WaitGroup
	for i := range a {
		wg.Go(func() { a[i].Close() })
	}
	wg.Wait()
	u.strictlyQuiet(t, q)
	if left := q.Len(); left != 0 {
		t.Errorf("%d registrations are left", left)
	}
}

// duplicate duplicates the descriptor of the stream, as a child process does, and returns a
// function that closes the duplicate.
func duplicate(t *testing.T, s Stream) (closeDup func()) {
	t.Helper()
	raw, err := s.(syscall.Conn).SyscallConn()
	must(t, err)
	var dup sys.FD
	var e syscall.Errno
	must(t, raw.Control(func(fd uintptr) { dup, e = sys.Dup(sys.FD(fd)) }))
	if e != 0 {
		t.Fatalf("dup: %v", e)
	}
	closeDup = sync.OnceFunc(func() { sys.Close(dup) })
	t.Cleanup(closeDup)
	return closeDup
}

// duplicateOutlives closes or deregisters a source that has an open duplicate, so that the
// kernel keeps the file and its readiness: Wait must return no event of it, nor busy-loop.
func (u *suite) duplicateOutlives(t *testing.T) {
	for _, closes := range []bool{true, false} {
		for _, trigger := range []pollux.Trigger{pollux.Edge, pollux.Level, pollux.Oneshot} {
			q := u.poll(t)
			a, b := u.pair(t)
			closeDup := duplicate(t, a)
			must(t, q.Register(a, 1, pollux.Readable|pollux.Writable, trigger))
			write(t, b, "x")
			next(t, q, "readable or writable", func(ev pollux.Event) bool { return ev.Token() == 1 })
			if closes {
				a.Close()
			} else {
				must(t, q.Deregister(a))
			}
			u.strictlyQuiet(t, q)
			write(t, b, "y")
			u.strictlyQuiet(t, q)
			u.sleeps(t, q, "a source that has an open duplicate is no longer registered")
			// Another source can be registered, also one that has the closed source's number.
			c, d := u.pair(t)
			must(t, q.Register(c, 2, pollux.Readable, pollux.Edge))
			write(t, d, "z")
			next(t, q, "another source", readable(2))
			closeDup()
			u.strictlyQuiet(t, q)
		}
	}
}

// sleeps fails if a Wait without events uses processor time.
func (u *suite) sleeps(t *testing.T, q *pollux.Poll, why string) {
	t.Helper()
	const asleep = 4 * settle
	used, ok := testkit.CPUTime()
	if !ok {
		t.Log("not checked: this system does not report the processor time that was used")
		return
	}
	timed(t, q, asleep)
	if now, _ := testkit.CPUTime(); now-used > asleep/2 {
		t.Errorf("%s, and a Wait of %v used %v of processor time", why, asleep, now-used)
	}
}

// duplicateCloses closes a duplicate, which must not affect the registration.
func (u *suite) duplicateCloses(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	duplicate(t, a)() // opened and closed before Register
	closeDup := duplicate(t, a)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	write(t, b, "x")
	next(t, q, "a byte beside a duplicate", readable(1))
	closeDup()
	drain(t, a)
	u.quiet(t, q, "a duplicate was closed")
	for range 10 {
		write(t, b, "x")
		next(t, q, "a byte after a duplicate was closed", readable(1))
		drain(t, a)
	}
	must(t, b.CloseWrite())
	next(t, q, "the FIN after a duplicate was closed", readable(1))
}
