package simnet

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// In a bubble one actor runs at a time, and the seed chooses the order.
func TestOneActorRunsAtATime(t *testing.T) {
	run := func(seed uint64) string {
		var order testkit.Buffer
		bubble(t, Config{Seed: seed}, func(t *testing.T, n *Network) {
			var wg sync.WaitGroup
			var running atomic.Int32
			for i := range 5 {
				a := n.NewActor()
				wg.Go(func() {
					for range 20 {
						a.Wait(0)
						if k := running.Add(1); k != 1 {
							t.Errorf("%d actors run at a time", k)
						}
						fmt.Fprint(&order, i)
						running.Add(-1)
					}
				})
			}
			wg.Wait()
			n.Close()
		})
		return order.String()
	}
	first := run(1)
	for range 20 {
		if again := run(1); again != first {
			t.Fatalf("seed 1 gave the order\n%s and\n%s", first, again)
		}
	}
	if run(2) == first {
		t.Errorf("seeds 1 and 2 gave the same order %s", first)
	}
	for i := range 5 {
		if k := strings.Count(first, fmt.Sprint(i)); k != 20 {
			t.Errorf("actor %d ran %d times, want 20", i, k)
		}
	}
}

func TestWaitEnds(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		defer n.Close()
		a := n.NewActor()
		for _, timeout := range []time.Duration{time.Nanosecond, time.Second, time.Hour} {
			start := time.Now()
			a.Wait(timeout)
			took(t, fmt.Sprintf("Wait(%v)", timeout), start, timeout)
		}
		// A wake before Wait ends it, once.
		start := time.Now()
		a.Wake()
		a.Wake()
		a.Wait(time.Hour)
		took(t, "Wait after Wake", start, 0)
		a.Wait(time.Minute)
		took(t, "the Wait after that", start, time.Minute)
		// A wake ends a Wait without a timeout.
		start = time.Now()
		time.AfterFunc(time.Second, a.Wake)
		a.Wait(-1)
		took(t, "Wait(-1)", start, time.Second)
		// The timeout of a Wait that was woken does not end the next one.
		start = time.Now()
		time.AfterFunc(time.Second, a.Wake)
		a.Wait(2 * time.Second)
		a.Wait(time.Minute)
		took(t, "both", start, time.Second+time.Minute)
	})
}

// TestTimeoutIsKept: the timeout of a Wait that was woken stays scheduled. It ends the next Wait that ends
// at that time, but no other one, nor does it wake the actor while that runs.
func TestTimeoutIsKept(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		defer n.Close()
		a := n.NewActor()
		woken := func(start time.Time) {
			time.AfterFunc(time.Second-time.Since(start), a.Wake)
			a.Wait(2*time.Second - time.Since(start))
			took(t, "the Wait that is woken", start, time.Second)
		}
		start := time.Now()
		woken(start)
		a.Wait(2*time.Second - time.Since(start))
		took(t, "Wait for the same time", start, 2*time.Second)

		start = time.Now()
		woken(start)
		time.AfterFunc(time.Minute-time.Since(start), a.Wake)
		a.Wait(-1)
		took(t, "Wait(-1)", start, time.Minute)

		start = time.Now()
		woken(start)
		time.Sleep(time.Minute)
		a.Wait(time.Minute)
		took(t, "Wait after the time has passed", start, time.Second+2*time.Minute)

		woken(time.Now())
		a.Done()
		if k := len(n.events); k != 0 {
			t.Errorf("%d events are scheduled after Done", k)
		}
	})
}

// An actor that never sleeps does not stop the clock.
func TestClockRunsBesideABusyActor(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		defer n.Close()
		busy, timed := n.NewActor(), n.NewActor()
		var done atomic.Bool
		turns := 0
		go func() {
			timed.Wait(time.Microsecond)
			done.Store(true)
		}()
		for !done.Load() {
			busy.Wait(0)
			turns++
		}
		if turns < 900 || turns > 1100 {
			t.Errorf("%d turns in a microsecond, want one each nanosecond", turns)
		}
	})
}

// Events happen in the order of their times, then in that of scheduling.
func TestOrderOfEvents(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		defer n.Close()
		var got []int
		n.mu.Lock()
		var events []*event
		for i, at := range []int64{300, 100, 200, 100, 300, 100} {
			e := &event{index: noIndex}
			e.do = func() { got = append(got, i) }
			events = append(events, e)
			n.scheduleLocked(e, at)
		}
		n.cancelLocked(events[3])
		n.cancelLocked(events[3])
		n.scheduleLocked(events[1], 250) // again
		n.mu.Unlock()
		time.Sleep(time.Microsecond)
		synctest.Wait()
		if want := []int{5, 2, 1, 0, 4}; !slices.Equal(got, want) {
			t.Errorf("the order was %v, want %v", got, want)
		}
	})
}

func TestManualClock(t *testing.T) {
	testkit.CheckLeaks(t)
	n := New(Config{Manual: true})
	defer n.Close()
	start := n.Now()
	var times []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		a := n.NewActor()
		defer a.Done()
		for range 3 {
			a.Wait(time.Second)
			times = append(times, n.Now().Sub(start))
		}
	})
	waiting := func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.events) == 1
	}
	if !testkit.Eventually(waiting) {
		t.Fatal("the actor does not wait")
	}
	n.Advance(999 * time.Millisecond)
	if len(times) != 0 {
		t.Errorf("the actor ran at %v", times)
	}
	n.Advance(time.Millisecond)
	if len(times) != 1 {
		t.Errorf("after one second the actor ran %d times", len(times))
	}
	if n.AdvanceUntil(999*time.Millisecond, func() bool { return len(times) == 2 }) {
		t.Error("AdvanceUntil returned true before the event")
	}
	if !n.AdvanceUntil(time.Hour, func() bool { return len(times) == 2 }) || n.Now().Sub(start) != 2*time.Second {
		t.Errorf("AdvanceUntil stopped at %v, want 2 s", n.Now().Sub(start))
	}
	n.Advance(time.Hour)
	wg.Wait()
	if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}; !slices.Equal(times, want) {
		t.Errorf("the actor ran at %v, want %v", times, want)
	}
	if got := n.Now().Sub(start); got != time.Hour+2*time.Second {
		t.Errorf("the clock is at %v, want 1h0m2s", got)
	}
}

func TestAdvanceNeedsManual(t *testing.T) {
	n := New(Config{})
	defer n.Close()
	defer func() {
		if recover() == nil {
			t.Error("Advance did not panic")
		}
	}()
	n.Advance(1)
}

// Close ends all waiting, at once.
func TestCloseOfTheNetwork(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		client, server := connect(t, a, b)
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		var wg sync.WaitGroup
		for what, f := range map[string]func() error{
			"Read": func() error { _, err := server.Read(make([]byte, 1)); return err },
			"Write": func() error {
				for {
					if _, err := server.Write(make([]byte, 1<<20)); err != nil {
						return err
					}
				}
			},
			"Accept": func() error { _, err := l.Accept(); return err },
		} {
			wg.Go(func() {
				if err := f(); !isClosed(err) {
					t.Errorf("%s returned %v, want net.ErrClosed", what, err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		n.Close()
		n.Close()
		wg.Wait()
		if _, err := a.Dial(t.Context(), "tcp", "10.0.0.2:80"); err == nil {
			t.Error("Dial on a closed network succeeded")
		}
		for _, c := range []interface{ Close() error }{client, server, l} {
			must(t, c.Close())
		}
		if k := a.Descriptors() + b.Descriptors(); k != 0 {
			t.Errorf("%d descriptors are open", k)
		}
		start := time.Now()
		time.AfterFunc(time.Second, n.NewActor().Wake)
		time.Sleep(time.Hour)
		took(t, "nothing", start, time.Hour)
	})
}

// The order of calls that several goroutines begin at the same time depends on the seed only.
func TestConcurrentDials(t *testing.T) {
	run := func(seed uint64) (trace string) {
		bubble(t, Config{Seed: seed}, func(t *testing.T, n *Network) {
			a, b := n.Host(), n.Host()
			var wg sync.WaitGroup
			for i := range 6 {
				l, err := b.Listen("tcp", fmt.Sprint(":", 80+i))
				must(t, err)
				t.Cleanup(func() { l.Close() })
				wg.Go(func() {
					c, err := a.Dial(t.Context(), "tcp", fmt.Sprint("10.0.0.2:", 80+i))
					must(t, err)
					write(t, c, "hello")
					must(t, c.CloseWrite())
					must(t, c.Close())
				})
			}
			wg.Wait()
			trace = n.Trace()
			t.Cleanup(n.Close)
		})
		return trace
	}
	first := run(1)
	for range 30 {
		if again := run(1); again != first {
			t.Fatalf("seed 1 gave two traces: %s", firstDifference(first, again))
		}
	}
	if run(2) == first {
		t.Error("seeds 1 and 2 gave the same trace")
	}
}

// Which of several goroutines gets which ephemeral port depends on the seed, not on how they are scheduled.
func TestListenOrder(t *testing.T) {
	ports := func(seed uint64) (all [8]string) {
		bubble(t, Config{Seed: seed}, func(t *testing.T, n *Network) {
			h := n.Host()
			var wg sync.WaitGroup
			for i := range all {
				wg.Go(func() {
					c, err := h.ListenPacket("udp", fmt.Sprintf("127.0.0.%d:0", i+1))
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					all[i] = c.LocalAddr().String()
				})
			}
			wg.Wait()
		})
		return all
	}
	first := ports(1)
	for range 50 {
		if again := ports(1); again != first {
			t.Fatalf("%v, and before %v", again, first)
		}
	}
	if ports(2) == first {
		t.Error("another seed has the same order")
	}
}
