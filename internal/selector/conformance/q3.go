package conformance

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// Q3: many waiters.
func (u *suite) q3() []test {
	return tests(
		test{"each edge goes to one of many waiters", u.edgesToOneWaiter},
		test{"a oneshot event goes to one waiter", u.oneshotHeldOnce},
		test{"oneshot re-armed while a waiter takes the event", u.oneshotRearmedWhileTaken},
		test{"many level waiters drain everything", u.levelManyWaiters},
	)
}

const waiters = 8

// edgesToOneWaiter sends a byte to a source only when the previous one has been
// received. So after each event there must be one byte: no byte means that an edge
// was reported twice, a byte that is never read that an edge was lost.
func (u *suite) edgesToOneWaiter(t *testing.T) {
	edges := int64(50_000)
	if testkit.Long() {
		edges = 1_000_000
	}
	const sources = 32
	q := u.poll(t)
	type source struct{ a, b Stream }
	var all [sources]source
	for i := range all {
		a, b := u.pair(t)
		all[i] = source{a, b}
		must(t, q.Register(a, pollux.Token(i), pollux.Readable, pollux.Edge))
	}
	var sent, got, empty atomic.Int64
	finished := make(chan struct{})
	one := []byte{1}
	send := func(i int) {
		if sent.Add(1) <= edges {
			if err := writeAgain(all[i].b, one); err != nil {
				t.Errorf("Write: %v", err)
			}
		}
	}
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			events := make([]pollux.Event, 4)
			buf := make([]byte, 16)
			for {
				n, err := q.Wait(events, pollux.Forever)
				if err != nil {
					return // the test closes the queue at its end
				}
				for _, ev := range events[:n] {
					if ev.Closed() {
						continue
					}
					k, err := all[ev.Token()].a.Read(buf)
					if err != nil {
						empty.Add(1)
						continue
					}
					if k != 1 {
						t.Errorf("%d bytes after one edge, want 1", k)
					}
					if got.Add(1) == edges {
						close(finished)
					}
					send(int(ev.Token()))
				}
			}
		})
	}
	for i := range all {
		send(i)
	}
	progress(t, finished, &got)
	must(t, q.Close())
	wg.Wait()
	if n := empty.Load(); n > 0 && !u.ExtraEdges {
		t.Errorf("%d events without data: their edges were reported twice", n)
	}
}

// writeAgain writes a byte, and tries again if the write would block. That happens on
// Wine while another goroutine's write to the same socket has not returned, although
// the reader has its byte and has answered.
func writeAgain(w io.Writer, one []byte) error {
	for end := time.Now().Add(deadline); ; runtime.Gosched() {
		_, err := w.Write(one)
		if !errors.Is(err, sock.ErrWouldBlock) || time.Now().After(end) {
			return err
		}
	}
}

// progress waits until finished is closed, and fails if count stops increasing.
func progress(t testing.TB, finished <-chan struct{}, count *atomic.Int64) {
	t.Helper()
	for last := int64(-1); ; {
		select {
		case <-finished:
			return
		case <-time.After(deadline):
			now := count.Load()
			if now == last {
				t.Errorf("stuck at %d: something was lost\n%s", now, testkit.Stacks())
				return
			}
			last = now
		}
	}
}

func (u *suite) oneshotHeldOnce(t *testing.T) {
	rounds := int64(20_000)
	if testkit.Long() {
		rounds = 300_000
	}
	const sources = 8
	q := u.poll(t)
	reg := q.Registrator()
	var a, b [sources]Stream
	var held [sources]atomic.Int32
	for i := range a {
		a[i], b[i] = u.pair(t)
		write(t, b[i], "x") // always readable, always writable
		must(t, reg.Register(a[i], pollux.Token(i), pollux.Readable|pollux.Writable, pollux.Oneshot))
	}
	var got atomic.Int64
	finished := make(chan struct{})
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			events := make([]pollux.Event, 4)
			for {
				n, err := q.Wait(events, pollux.Forever)
				if err != nil {
					return
				}
				for _, ev := range events[:n] {
					if ev.Closed() {
						continue
					}
					i := ev.Token()
					if !held[i].CompareAndSwap(0, 1) {
						t.Errorf("two waiters hold events of source %d", i)
					}
					runtime.Gosched()
					held[i].Store(0)
					if got.Add(1) == rounds {
						close(finished)
					}
					reg.Reregister(a[i], i, pollux.Readable|pollux.Writable, pollux.Oneshot)
				}
			}
		})
	}
	progress(t, finished, &got)
	must(t, q.Close())
	wg.Wait()
}

// oneshotRearmedWhileTaken calls Reregister at about the time at which the only waiter takes
// the event. The byte is still unread, so it must be reported under the new token, whichever
// comes first. A kernel or backend that disables a oneshot registration after it has released
// its lock loses that event.
func (u *suite) oneshotRearmedWhileTaken(t *testing.T) {
	rounds := 500
	if testkit.Long() {
		rounds = 50_000
	}
	for _, trigger := range []pollux.Trigger{pollux.Oneshot, pollux.Oneshot | pollux.Level} {
		q := u.poll(t)
		reg := q.Registrator()
		a, b := u.pair(t)
		must(t, reg.Register(a, 0, pollux.Readable, trigger))
		taken := make(chan pollux.Token)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			events := make([]pollux.Event, 4)
			for {
				n, err := q.Wait(events, pollux.Forever)
				if err != nil {
					return
				}
				for _, ev := range events[:n] {
					select {
					case taken <- ev.Token():
					case <-stop:
					}
				}
			}
		})
		late := time.NewTimer(deadline)
		for tok := pollux.Token(0); tok < pollux.Token(2*rounds) && !t.Failed(); tok += 2 {
			write(t, b, "x")
			for end := time.Now().Add(time.Duration(tok%128) * time.Microsecond); time.Now().Before(end); {
			}
			must(t, reg.Reregister(a, tok+1, pollux.Readable, trigger))
			late.Reset(deadline)
			for got := tok; got != tok+1 && !t.Failed(); {
				select {
				case got = <-taken:
				case <-late.C:
					t.Errorf("round %d: no event within %v after Reregister", tok/2, deadline)
				}
			}
			drain(t, a)
			must(t, reg.Reregister(a, tok+2, pollux.Readable, trigger))
		}
		late.Stop()
		close(stop)
		must(t, q.Close())
		wg.Wait()
	}
}

func (u *suite) levelManyWaiters(t *testing.T) {
	const sources, bytes = 16, 64
	q := u.poll(t)
	var a, b [sources]Stream
	for i := range a {
		a[i], b[i] = u.pair(t)
		must(t, q.Register(a[i], pollux.Token(i), pollux.Readable, pollux.Level))
	}
	var got atomic.Int64
	finished := make(chan struct{})
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			events := make([]pollux.Event, 4)
			buf := make([]byte, 3)
			for {
				n, err := q.Wait(events, pollux.Forever)
				if err != nil {
					return
				}
				for _, ev := range events[:n] {
					if ev.Closed() {
						continue
					}
					k, _ := a[ev.Token()].Read(buf)
					if k > 0 && got.Add(int64(k)) == sources*bytes {
						close(finished)
					}
				}
			}
		})
	}
	for range bytes {
		for i := range b {
			write(t, b[i], "x")
		}
	}
	progress(t, finished, &got)
	must(t, q.Close())
	wg.Wait()
}
