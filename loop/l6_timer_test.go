package loop_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// L6: Stop and Reset report whether the timer was running: not when it is stopped, nor from the
// beginning of its function on.
func TestL6StopAndResetReport(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	report := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s returned %t, want %t", what, got, want)
		}
	}
	for _, where := range []string{"another goroutine", "the loop"} {
		on := func(f func()) { f() }
		if where == "the loop" {
			on = func(f func()) { runOnLoop(t, l, "the steps", f) }
		}
		fired := make(chan bool, 1)
		var m *loop.Timer
		in := func(what string) string { return fmt.Sprintf("%s, on %s", what, where) }
		on(func() {
			m = l.AfterFunc(time.Hour, func() {
				report(in("Stop in the function"), m.Stop(), false)
				report(in("Reset in the function"), m.Reset(time.Hour), false)
				report(in("Stop after Reset in the function"), m.Stop(), true)
				fired <- true
			})
			report(in("Reset of a running timer"), m.Reset(2*time.Hour), true)
			report(in("Stop of a running timer"), m.Stop(), true)
			report(in("Stop of a stopped timer"), m.Stop(), false)
			report(in("Reset of a stopped timer"), m.Reset(0), false)
		})
		receive(t, fired, "the timer")
		on(func() {
			report(in("Stop of a timer that has fired"), m.Stop(), false)
			report(in("Reset of a timer that has fired"), m.Reset(time.Hour), false)
			report(in("Reset of a timer that was reset after it had fired"), m.Reset(time.Hour), true)
			report(in("the last Stop"), m.Stop(), true)
		})
	}
}

// L6: if Stop returns true, the function does not run, although the time has come.
func TestL6StopOfADueTimer(t *testing.T) { simulated(t, testStopOfADueTimer) }

func testStopOfADueTimer(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: quiet()})
	l := g.Loops()[0]
	for range 2 {
		waitTurn(t, l)
		release := blockLoop(t, l)
		due := l.AfterFunc(0, func() { t.Error("a timer has fired although Stop returned true") })
		moved := l.AfterFunc(0, func() { t.Error("a timer has fired although Reset moved it by an hour") })
		taken, out := make(chan bool), make(chan bool)
		l.Run(func() { close(taken); <-out }) // the loop has taken the timers before, and fires them after this
		release()
		receive(t, taken, "the function after the timers")
		if !due.Stop() {
			t.Error("Stop of a timer that has not fired returned false")
		}
		if !moved.Reset(time.Hour) {
			t.Error("Reset of a timer that has not fired returned false")
		}
		time.Sleep(5 * time.Millisecond) // now the time has come
		close(out)
		waitTurn(t, l)
		waitTurn(t, l)
	}
}

// L6: each start of a timer ends once: the function is called, or a Stop or Reset returns true,
// whatever goroutines do at the same time, and whether the loop sleeps or has too much to do.
func TestL6EachStartEndsOnce(t *testing.T) {
	for _, load := range []bool{false, true} {
		t.Run(fmt.Sprintf("load=%t", load), func(t *testing.T) { testEachStartEndsOnce(t, load) })
	}
}

// loadLoop keeps a loop busy, with an echo, and functions that use up each turn's budget, until the
// returned function is called.
func loadLoop(t *testing.T, g *loop.Group) (stop func()) {
	t.Helper()
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	var stopped atomic.Bool
	var all sync.WaitGroup
	all.Add(1)
	var work func()
	work = func() {
		busy()
		if stopped.Load() || g.Loops()[0].Run(work) != nil {
			all.Done()
		}
	}
	g.Loops()[0].Run(work)
	all.Go(func() {
		b := make([]byte, 4)
		for !stopped.Load() {
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.ReadFull(c, b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() { stopped.Store(true); all.Wait() }
}

func testEachStartEndsOnce(t *testing.T, load bool) {
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: quiet()})
	l := g.Loops()[0]
	if load {
		defer loadLoop(t, g)()
	}
	const timers, calls = 8, 2000
	var starts, fires, stops, moves [timers]atomic.Int64
	var all sync.WaitGroup
	started := make([]*loop.Timer, timers)
	for i := range timers {
		starts[i].Add(1)
		started[i] = l.AfterFunc(time.Duration(i)*100*time.Microsecond, func() { fires[i].Add(1) })
	}
	step := func(r *rand.Rand, i int) {
		if r.IntN(2) == 0 {
			if started[i].Stop() {
				stops[i].Add(1)
			}
			return
		}
		starts[i].Add(1)
		if started[i].Reset(time.Duration(r.IntN(3)) * 50 * time.Microsecond) {
			moves[i].Add(1)
		}
	}
	for n := range 4 {
		r := rand.New(rand.NewPCG(1, uint64(n)))
		all.Go(func() {
			for range calls {
				step(r, r.IntN(timers))
				if r.IntN(8) == 0 {
					time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond) // let timers expire
				}
			}
		})
	}
	all.Add(1)
	r := rand.New(rand.NewPCG(2, 2))
	var again func()
	left := calls
	if load {
		left /= 20 // each takes a turn
	}
	again = func() {
		step(r, r.IntN(timers))
		if left--; left == 0 || l.Run(again) != nil {
			all.Done()
		}
	}
	l.Run(again)
	all.Wait()
	for i := range timers {
		if started[i].Stop() {
			stops[i].Add(1)
		}
	}
	waitTurn(t, l) // no function runs any more
	fired := int64(0)
	for i := range timers {
		ends := fires[i].Load() + stops[i].Load() + moves[i].Load()
		if starts[i].Load() != ends {
			t.Errorf("timer %d was started %d times; it has fired %d times, was stopped %d times, and moved %d times, together %d",
				i, starts[i].Load(), fires[i].Load(), stops[i].Load(), moves[i].Load(), ends)
		}
		fired += fires[i].Load()
	}
	if fired == 0 {
		t.Error("no timer has fired")
	}
	if n := g.Stats().Loops[0].Timers; n != 0 {
		t.Errorf("%d timers are running, want 0", n)
	}
}

// L6: once the loop has ended, a timer that was running does not fire, so that Stop returns true,
// once.
func TestL6StopAfterTheLoop(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	m := l.AfterFunc(time.Hour, func() { t.Error("a timer of an hour has fired") })
	if err := g.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := l.AfterFunc(0, func() { t.Error("a timer of a loop that has ended has fired") })
	for _, m := range []*loop.Timer{m, late} {
		if first, second := m.Stop(), m.Stop(); !first || second {
			t.Errorf("Stop of a running timer on an ended loop: %t, then %t, want true, then false", first, second)
		}
	}
}
