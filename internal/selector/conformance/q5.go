package conformance

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Q5: Close concurrently with all other calls.
func (u *suite) q5() []test {
	return tests(
		test{"Close reports each registration once, then ErrClosed", u.closeReportsEachOnce},
		test{"Close wakes 64 waiters", u.closeWakesWaiters},
		test{"after Close everything is ErrClosed", u.afterClose},
		test{"a source outlives its queue", u.sourceOutlivesQueue},
		test{"Close against Register, Reregister, Deregister and Wait", u.closeRace},
		test{"two thousand queues leave no descriptor", u.manyQueues},
	)
}

func (u *suite) closeReportsEachOnce(t *testing.T) {
	q := u.poll(t)
	const n = 200
	for i := range n {
		a, b := u.pair(t)
		must(t, q.Register(a, pollux.Token(i), pollux.Readable, pollux.Edge))
		write(t, b, "x")
		if i%4 == 3 {
			must(t, q.Deregister(a))
		}
	}
	must(t, q.Close())
	closed := map[pollux.Token]int{}
	events := make([]pollux.Event, 7)
	for {
		k, err := q.Wait(events, pollux.Forever)
		if err != nil {
			if !errors.Is(err, pollux.ErrClosed) {
				t.Fatalf("Wait: %v, want ErrClosed", err)
			}
			break
		}
		for _, ev := range events[:k] {
			if !ev.Closed() {
				t.Errorf("%v from a closed queue", ev)
			}
			closed[ev.Token()]++
		}
	}
	for i := range pollux.Token(n) {
		want := 1
		if i%4 == 3 {
			want = 0
		}
		if closed[i] != want {
			t.Errorf("token %d: %d Closed events, want %d", i, closed[i], want)
		}
	}
}

func (u *suite) closeWakesWaiters(t *testing.T) {
	q := u.poll(t)
	results := make(chan error, 64)
	var asleep sync.WaitGroup
	for i := range 64 {
		timeout := pollux.Forever
		if i%2 == 0 {
			timeout = time.Hour
		}
		asleep.Add(1)
		go func() {
			events := make([]pollux.Event, 1)
			asleep.Done()
			_, err := q.Wait(events, timeout)
			results <- err
		}()
	}
	asleep.Wait()
	time.Sleep(settle) // so that most of them are asleep; the test is valid either way
	start := time.Now()
	must(t, q.Close())
	for range 64 {
		select {
		case err := <-results:
			if !errors.Is(err, pollux.ErrClosed) {
				t.Errorf("Wait: %v, want ErrClosed", err)
			}
		case <-time.After(deadline):
			t.Fatal("a Wait did not return after Close")
		}
	}
	t.Logf("64 waiters returned within %v after Close", time.Since(start))
}

func (u *suite) afterClose(t *testing.T) {
	q := u.poll(t)
	a, _ := u.pair(t)
	b, _ := u.pair(t)
	reg := q.Registrator()
	must(t, reg.Register(b, 1, pollux.Readable, pollux.Edge))
	w, err := q.NewWaker(9)
	must(t, err)
	must(t, q.Close())
	_, newWaker := q.NewWaker(1)
	for what, err := range map[string]error{
		"Register":   reg.Register(a, 2, pollux.Readable, pollux.Edge),
		"Reregister": reg.Reregister(b, 3, pollux.Readable, pollux.Edge),
		"Deregister": reg.Deregister(b),
		"Close":      q.Close(),
		"Wake":       w.Wake(),
		"NewWaker":   newWaker,
	} {
		if !errors.Is(err, pollux.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
	events := make([]pollux.Event, 4)
	if n, err := q.Wait(events, 0); n != 1 || err != nil || events[0].Token() != 1 || !events[0].Closed() {
		t.Errorf("Wait = %v, %v, want token 1 closed", events[:n], err)
	}
	for range 3 {
		if _, err := q.Wait(events, 0); !errors.Is(err, pollux.ErrClosed) {
			t.Errorf("Wait: %v, want ErrClosed", err)
		}
	}
}

func (u *suite) sourceOutlivesQueue(t *testing.T) {
	a, b := u.pair(t)
	for tok := pollux.Token(1); tok < 5; tok++ {
		q := u.poll(t)
		must(t, q.Register(a, tok, pollux.Readable, pollux.Edge))
		write(t, b, "x")
		next(t, q, "the byte", readable(tok))
		drain(t, a)
		must(t, q.Close())
	}
}

// closeRace runs rounds in which goroutines register, reregister and deregister
// while others wait and one closes the queue. Each registration has a token of its
// own, and a fate that records its result.
func (u *suite) closeRace(t *testing.T) {
	duration := time.Second
	if testkit.Long() {
		duration = 70 * time.Second
	}
	rounds, total := 0, 0
	for stop := time.Now().Add(duration); time.Now().Before(stop); rounds++ {
		total += u.closeRound(t, rounds)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d rounds, %d registrations", rounds, total)
}

const racers, racing = 4, 3

// fate is the result of one registration.
type fate struct {
	registered, deregistered bool
	closed                   atomic.Int32 // Closed events
}

func (u *suite) closeRound(t *testing.T, round int) int {
	q, err := u.NewPoll()
	must(t, err)
	reg := q.Registrator()
	const perRacer = 64
	fates := make([]fate, racers*perRacer)
	var wg sync.WaitGroup
	begin := make(chan struct{})
	var started atomic.Int64
	for r := range racers {
		a, b, err := u.Pair()
		must(t, err)
		b.Write([]byte("x"))
		wg.Go(func() {
			defer a.Close()
			defer b.Close()
			<-begin
			for i := range perRacer {
				started.Add(1)
				if !u.raceStep(t, reg, a, fates, r*perRacer+i) {
					return
				}
			}
		})
	}
	for range racing {
		wg.Go(func() {
			<-begin
			raceWait(t, q, fates)
		})
	}
	wg.Go(func() {
		<-begin
		for started.Load() < int64(round%(racers*perRacer/2)) {
		}
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	close(begin)
	wg.Wait()
	count := 0
	for i := range fates {
		f := &fates[i]
		if f.registered {
			count++
		}
		want := int32(0)
		if f.registered && !f.deregistered {
			want = 1
		}
		if got := f.closed.Load(); got != want {
			t.Errorf("token %d (registered %v, deregistered %v): %d Closed events, want %d", i, f.registered, f.deregistered, got, want)
		}
	}
	return count
}

// raceStep registers, reregisters and deregisters a. It returns false when the queue
// is closed.
func (u *suite) raceStep(t *testing.T, reg pollux.Registrator, a Stream, fates []fate, i int) bool {
	err := reg.Register(a, pollux.Token(i), pollux.Readable, pollux.Edge)
	if err != nil {
		if !errors.Is(err, pollux.ErrClosed) {
			t.Errorf("Register: %v, want nil or ErrClosed", err)
		}
		return false
	}
	fates[i].registered = true
	if i%2 == 0 {
		if err := reg.Reregister(a, pollux.Token(i), pollux.Readable, pollux.Oneshot); err != nil {
			if !errors.Is(err, pollux.ErrClosed) {
				t.Errorf("Reregister: %v, want nil or ErrClosed", err)
			}
			return false
		}
	}
	if err := reg.Deregister(a); err != nil {
		if !errors.Is(err, pollux.ErrClosed) {
			t.Errorf("Deregister: %v, want nil or ErrClosed", err)
		}
		return false
	}
	fates[i].deregistered = true
	return true
}

func raceWait(t *testing.T, q *pollux.Poll, fates []fate) {
	events := make([]pollux.Event, 3)
	for {
		n, err := q.Wait(events, pollux.Forever)
		if err != nil {
			if !errors.Is(err, pollux.ErrClosed) {
				t.Errorf("Wait: %v, want ErrClosed", err)
			}
			return
		}
		for _, ev := range events[:n] {
			if ev.Closed() {
				fates[ev.Token()].closed.Add(1)
			}
		}
	}
}

func (u *suite) manyQueues(t *testing.T) {
	before := testkit.CountUsage()
	for range 2000 {
		q, err := u.NewPoll()
		must(t, err)
		must(t, q.Close())
	}
	before.Check(t)
}
