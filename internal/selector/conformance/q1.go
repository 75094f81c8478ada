package conformance

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
)

// Q1: any goroutine can change registrations at any time; changes take effect immediately.
func (u *suite) q1() []test {
	return tests(
		test{"readiness before Register is reported", u.readinessBeforeRegister},
		test{"Register during a blocked Wait delivers", u.registerDuringWait},
		test{"Reregister during a blocked Wait delivers", u.reregisterDuringWait},
		test{"Reregister replaces interest and token", u.reregisterReplaces},
		test{"Register after Deregister works", u.registerAfterDeregister},
		test{"registering from many goroutines while others wait", u.registerConcurrently},
		test{"a hundred connections through one listener", u.hundredConnections},
		test{"registering and closing sources leaves no registration", u.addThenDrop},
	)
}

func (u *suite) readinessBeforeRegister(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	write(t, b, "x")
	must(t, q.Register(a, 7, pollux.Readable, pollux.Edge))
	next(t, q, "data that arrived before Register", readable(7))
}

// waiting calls Wait in another goroutine; the channel receives its event.
func waiting(t testing.TB, q *pollux.Poll) <-chan pollux.Event {
	found := make(chan pollux.Event, 1)
	go func() {
		events := make([]pollux.Event, 1)
		if n, err := q.Wait(events, deadline); err == nil && n == 1 {
			found <- events[0]
		}
		close(found)
	}()
	return found
}

func expect(t testing.TB, found <-chan pollux.Event, tok pollux.Token) {
	t.Helper()
	if ev, ok := <-found; !ok || ev.Token() != tok {
		t.Fatalf("the blocked Wait returned %v (%v), want token %d", ev, ok, tok)
	}
}

func (u *suite) registerDuringWait(t *testing.T) {
	for range 20 {
		q := u.poll(t)
		a, b := u.pair(t)
		write(t, b, "x")
		found := waiting(t, q)
		must(t, q.Register(a, 3, pollux.Readable, pollux.Edge))
		expect(t, found, 3)
	}
}

func (u *suite) reregisterDuringWait(t *testing.T) {
	for range 20 {
		q := u.poll(t)
		a, b := u.pair(t)
		write(t, b, "x")
		must(t, q.Register(a, 1, pollux.Priority, pollux.Edge))
		found := waiting(t, q)
		must(t, q.Reregister(a, 2, pollux.Readable, pollux.Edge))
		expect(t, found, 2)
	}
}

func (u *suite) reregisterReplaces(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	reg := q.Registrator()
	write(t, b, "x")
	must(t, reg.Register(a, 1, pollux.Readable, pollux.Edge))
	must(t, reg.Reregister(a, 2, pollux.Writable, pollux.Edge))
	ev := next(t, q, "writable under the new token", writable(2))
	if ev.Readable() {
		t.Errorf("%v, want no Readable: it was replaced by Writable", ev)
	}
	for _, ev := range collect(t, q) {
		if ev.Token() == 1 || ev.Readable() {
			t.Errorf("%v after Reregister with another token and interest", ev)
		}
	}
	must(t, reg.Reregister(a, 3, pollux.Readable, pollux.Edge))
	next(t, q, "unread data under the third token", readable(3))
}

func (u *suite) registerAfterDeregister(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	for tok := pollux.Token(1); tok < 50; tok++ {
		must(t, q.Register(a, tok, pollux.Readable, pollux.Edge))
		write(t, b, "x")
		next(t, q, "a byte after registering again", readable(tok))
		must(t, q.Deregister(a))
	}
}

func (u *suite) registerConcurrently(t *testing.T) {
	const workers, rounds, waiters = 6, 40, 3
	q := u.poll(t)
	var notified [workers]chan struct{}
	for i := range notified {
		notified[i] = make(chan struct{}, 1)
	}
	var done atomic.Bool
	var wg, waits sync.WaitGroup
	for range waiters {
		waits.Go(func() {
			events := make([]pollux.Event, 8)
			for !done.Load() {
				n, err := q.Wait(events, 50*time.Millisecond)
				if err != nil {
					t.Errorf("Wait: %v", err)
					return
				}
				for _, ev := range events[:n] {
					select {
					case notified[ev.Token()] <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				a, b, err := u.Pair()
				if err != nil {
					t.Errorf("pair: %v", err)
					return
				}
				select { // an earlier round of this worker may have left an event
				case <-notified[w]:
				default:
				}
				b.Write([]byte("x"))
				if err := q.Register(a, pollux.Token(w), pollux.Readable, pollux.Edge); err != nil {
					t.Errorf("Register: %v", err)
				}
				select {
				case <-notified[w]:
				case <-time.After(deadline):
					t.Errorf("worker %d: its byte was not reported within %v", w, deadline)
				}
				if err := q.Deregister(a); err != nil {
					t.Errorf("Deregister: %v", err)
				}
				a.Close()
				b.Close()
			}
		})
	}
	wg.Wait()
	done.Store(true)
	waits.Wait()
}

func (u *suite) hundredConnections(t *testing.T) {
	q := u.poll(t)
	l := u.listener(t)
	reg := q.Registrator()
	must(t, reg.Register(l, 1000, pollux.Readable, pollux.Edge))
	var clients, servers []Stream
	defer func() {
		for _, s := range append(clients, servers...) {
			s.Close()
		}
	}()
	for i := range 100 {
		c, err := l.Connect()
		must(t, err)
		clients = append(clients, c)
		must(t, reg.Register(c, pollux.Token(i), pollux.Readable|pollux.Writable, pollux.Edge))
	}
	echoed := 0
	events := make([]pollux.Event, 32)
	b := make([]byte, 16)
	for end := time.Now().Add(deadline); echoed < 100; {
		n, err := q.Wait(events, time.Until(end))
		must(t, err)
		if n == 0 {
			t.Fatalf("%d of 100 answers within %v", echoed, deadline)
		}
		for _, ev := range events[:n] {
			switch tok := ev.Token(); {
			case tok == 1000:
				servers = append(servers, u.acceptAndGreet(t, l)...)
			case ev.Readable():
				if k, _ := clients[tok].Read(b); k > 0 {
					echoed++
				}
			}
		}
	}
	if len(servers) != 100 {
		t.Errorf("%d connections were accepted, want 100", len(servers))
	}
}

func (u *suite) acceptAndGreet(t *testing.T, l Listener) (all []Stream) {
	for {
		s, err := l.Accept()
		if err != nil {
			return all
		}
		write(t, s, "hello")
		all = append(all, s)
	}
}

func (u *suite) addThenDrop(t *testing.T) {
	q := u.poll(t)
	for range 50 {
		a, b, err := u.Pair()
		must(t, err)
		must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
		write(t, b, "x")
		a.Close()
		b.Close()
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d registrations are left", n)
	}
	if evs := collect(t, q); len(evs) > 0 {
		t.Errorf("events of closed sources: %v", evs)
	}
}
