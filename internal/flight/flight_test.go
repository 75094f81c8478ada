package flight

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/testkit"
)

var (
	errLeft    = errors.New("left")
	errClosed  = errors.New("closed")
	errRefused = errors.New("refused")
)

type (
	group  = Group[string, int]
	query  = Flight[string, int]
	waiter = Waiter[string, int]
)

var limits = Limits{Flights: 10, Waiters: 100}

// server starts queries, and records them and their stops.
type server struct {
	queries []*query
	stopped int
}

func (s *server) start(f *query) func() {
	s.queries = append(s.queries, f)
	return func() { s.stopped++ }
}

// neverStart is for a Join of a flight that exists.
func neverStart(t *testing.T) Start[string, int] {
	return func(*query) func() { t.Error("a query was started twice"); return nil }
}

// calls records callbacks.
type calls []string

// record returns a callback that records name and outcome.
func (c *calls) record(name string) func(int, error) {
	return func(v int, err error) { *c = append(*c, fmt.Sprint(name, " ", v, " ", err)) }
}

func (c *calls) check(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(*c, want) {
		t.Errorf("the callbacks were %q, want %q", *c, want)
	}
}

func join(t *testing.T, g *group, k string, done func(int, error), start Start[string, int]) *waiter {
	t.Helper()
	w, err := g.Join(k, done, start)
	if err != nil {
		t.Fatalf("Join: %v", err)
	}
	return w
}

func checkInFlight(t *testing.T, g *group, flights, waiters int) {
	t.Helper()
	if f, w := g.InFlight(); f != flights || w != waiters {
		t.Errorf("InFlight() = %d flights, %d waiters, want %d, %d", f, w, flights, waiters)
	}
}

// All waiters of a key get the result of one query, in order; the next Join starts another.
func TestOneQuery(t *testing.T) {
	g, s, c := New[string, int](limits), &server{}, calls{}
	join(t, g, "a", c.record("1"), s.start)
	join(t, g, "a", c.record("2"), neverStart(t))
	join(t, g, "b", c.record("other"), s.start)
	join(t, g, "a", c.record("3"), neverStart(t))
	checkInFlight(t, g, 2, 4)
	c.check(t)
	if !s.queries[0].Finish(7, errRefused) {
		t.Error("Finish returned false, want true")
	}
	c.check(t, "1 7 refused", "2 7 refused", "3 7 refused")
	if s.queries[0].Finish(8, nil) {
		t.Error("the second Finish returned true, want false")
	}
	join(t, g, "a", c.record("4"), s.start)
	s.queries[2].Finish(9, nil)
	c.check(t, "1 7 refused", "2 7 refused", "3 7 refused", "4 9 <nil>")
	checkInFlight(t, g, 1, 1)
	if s.stopped != 0 {
		t.Errorf("%d queries were stopped, want 0", s.stopped)
	}
}

// A waiter that leaves gets its error and nothing else. The query goes on for the others, and is
// stopped when the last has left.
func TestCancel(t *testing.T) {
	g, s, c := New[string, int](limits), &server{}, calls{}
	var w [4]*waiter
	for i := range w {
		w[i] = join(t, g, "a", c.record(fmt.Sprint(i)), s.start)
	}
	for _, i := range []int{1, 0, 3} { // in the middle, the oldest, the newest
		if !w[i].Cancel(errLeft) || w[i].Cancel(errLeft) {
			t.Error("Cancel must return true once")
		}
	}
	c.check(t, "1 0 left", "0 0 left", "3 0 left")
	checkInFlight(t, g, 1, 1)
	if s.stopped != 0 {
		t.Error("a query with a waiter was stopped")
	}
	w4 := join(t, g, "a", c.record("4"), neverStart(t))
	w[2].Cancel(errLeft)
	w4.Cancel(errLeft)
	if s.stopped != 1 {
		t.Errorf("the query was stopped %d times, want 1", s.stopped)
	}
	checkInFlight(t, g, 0, 0)
	if s.queries[0].Finish(1, nil) {
		t.Error("Finish of an abandoned flight returned true")
	}
	w5 := join(t, g, "a", c.record("5"), s.start)
	s.queries[1].Finish(2, nil)
	if w5.Cancel(errLeft) {
		t.Error("Cancel after the result returned true")
	}
	c.check(t, "1 0 left", "0 0 left", "3 0 left", "2 0 left", "4 0 left", "5 2 <nil>")
	if s.stopped != 1 {
		t.Errorf("%d queries were stopped, want 1", s.stopped)
	}
}

// When the last waiter leaves, its query is stopped before the callback, which may thus start
// another.
func TestStopBeforeCallback(t *testing.T) {
	g, s := New[string, int](limits), &server{}
	w := join(t, g, "a", func(int, error) {
		if s.stopped != 1 {
			t.Error("the query was not stopped before the callback")
		}
	}, s.start)
	w.Cancel(errLeft)
}

// Callbacks may call any method of their own flight and group.
func TestReentrancy(t *testing.T) {
	g, s, c := New[string, int](limits), &server{}, calls{}
	var w [4]*waiter
	w[0] = join(t, g, "a", func(v int, err error) {
		c.record("0")(v, err)
		if w[0].Cancel(errLeft) {
			t.Error("Cancel of a waiter in its callback returned true")
		}
		if s.queries[0].Finish(5, nil) {
			t.Error("Finish in a callback of the flight returned true")
		}
		if !w[2].Cancel(errLeft) { // wins over the result
			t.Error("Cancel of another waiter in a callback returned false")
		}
		join(t, g, "a", c.record("again"), s.start)
	}, s.start)
	w[1] = join(t, g, "a", c.record("1"), neverStart(t))
	w[2] = join(t, g, "a", c.record("2"), neverStart(t))
	w[3] = join(t, g, "a", func(v int, err error) {
		c.record("3")(v, err)
		g.Close(errClosed)
	}, neverStart(t))
	s.queries[0].Finish(1, nil)
	c.check(t, "0 1 <nil>", "2 0 left", "1 1 <nil>", "3 1 <nil>", "again 0 closed")
	if s.stopped != 1 {
		t.Errorf("%d queries were stopped, want that of the second flight only", s.stopped)
	}
	checkInFlight(t, g, 0, 0)
}

// When the last waiter of a flight that has ended leaves, a new flight of the same key goes on.
func TestCancelBesideNewFlight(t *testing.T) {
	g, s, c := New[string, int](limits), &server{}, calls{}
	var second *waiter
	join(t, g, "a", func(int, error) {
		join(t, g, "a", c.record("new"), s.start)
		second.Cancel(errLeft)
	}, s.start)
	second = join(t, g, "a", c.record("second"), neverStart(t))
	s.queries[0].Finish(1, nil)
	checkInFlight(t, g, 1, 1)
	s.queries[1].Finish(2, nil)
	c.check(t, "second 0 left", "new 2 <nil>")
	if s.stopped != 0 {
		t.Errorf("%d queries were stopped, want 0", s.stopped)
	}
}

// A query that ends, loses its waiters or is closed while it starts.
func TestDuringStart(t *testing.T) {
	tests := []struct {
		name   string
		during func(g *group, f *query, joined *waiter)
		want   []string
		stops  int
	}{
		{"finished", func(_ *group, f *query, _ *waiter) { f.Finish(3, nil) }, []string{"1 3 <nil>", "2 3 <nil>"}, 0},
		{"one left", func(_ *group, _ *query, w *waiter) { w.Cancel(errLeft) }, []string{"2 0 left"}, 0},
		{"all left", func(_ *group, f *query, w *waiter) { w.Cancel(errLeft); f.oldest.Cancel(errLeft) }, []string{"2 0 left", "1 0 left"}, 1},
		{"closed", func(g *group, _ *query, _ *waiter) { g.Close(errClosed) }, []string{"1 0 closed", "2 0 closed"}, 1},
	}
	for _, tt := range tests {
		for _, withStop := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, withStop), func(t *testing.T) {
				g, c, stopped := New[string, int](limits), calls{}, 0
				join(t, g, "a", c.record("1"), func(f *query) func() {
					tt.during(g, f, join(t, g, "a", c.record("2"), neverStart(t)))
					if !withStop {
						return nil
					}
					return func() { stopped++ }
				})
				c.check(t, tt.want...)
				if withStop && stopped != tt.stops {
					t.Errorf("the query was stopped %d times, want %d", stopped, tt.stops)
				}
			})
		}
	}
}

// A query without a function to stop it can be abandoned.
func TestNoStop(t *testing.T) {
	g, c := New[string, int](limits), calls{}
	start := func(*query) func() { return nil }
	join(t, g, "a", c.record("1"), start).Cancel(errLeft)
	join(t, g, "a", c.record("2"), start)
	g.Close(errClosed)
	c.check(t, "1 0 left", "2 0 closed")
}

// Limits of flights and of waiters. A refused waiter gets no callback and starts nothing.
func TestLimits(t *testing.T) {
	g, s, c := New[string, int](Limits{Flights: 2, Waiters: 4}), &server{}, calls{}
	refused := func(k string) {
		t.Helper()
		if w, err := g.Join(k, c.record("refused"), neverStart(t)); w != nil || !errors.Is(err, ErrFull) {
			t.Errorf("Join past a limit = %v, %v, want ErrFull", w, err)
		}
	}
	join(t, g, "a", c.record("1"), s.start)
	join(t, g, "b", c.record("2"), s.start)
	refused("c")
	join(t, g, "b", c.record("3"), s.start)
	w := join(t, g, "b", c.record("4"), s.start)
	refused("b")
	checkInFlight(t, g, 2, 4)
	w.Cancel(errLeft)
	join(t, g, "b", c.record("5"), s.start)
	s.queries[0].Finish(0, nil)
	join(t, g, "c", c.record("6"), s.start)
	c.check(t, "4 0 left", "1 0 <nil>")
}

// Close stops all queries, and each waiter gets its error, as Join does afterwards.
func TestClose(t *testing.T) {
	g, s, c := New[string, int](limits), &server{}, calls{}
	w := join(t, g, "a", c.record("1"), s.start)
	join(t, g, "a", c.record("2"), s.start)
	g.Close(errClosed)
	g.Close(errRefused)
	c.check(t, "1 0 closed", "2 0 closed")
	if s.stopped != 1 {
		t.Errorf("the query was stopped %d times, want 1", s.stopped)
	}
	if w, err := g.Join("a", c.record("3"), s.start); w != nil || err != errClosed {
		t.Errorf("Join after Close = %v, %v, want the error of the first Close", w, err)
	}
	if w.Cancel(errLeft) || s.queries[0].Finish(1, nil) {
		t.Error("Cancel or Finish after Close returned true")
	}
	checkInFlight(t, g, 0, 0)
}

// A callback that panics or ends its goroutine takes the result from no other waiter, and a start
// that does leaves no flight behind.
func TestPanicAndGoexit(t *testing.T) {
	failures := map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit}
	// run calls f and returns what it panics with.
	run := func(f func()) (recovered any) {
		ended := make(chan any)
		go func() {
			defer func() { ended <- recover() }()
			f()
		}()
		return <-ended
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			g, s, c := New[string, int](limits), &server{}, calls{}
			for _, k := range []string{"a", "b", "c"} {
				for i := range 3 {
					record := c.record("")
					join(t, g, k, func(v int, err error) {
						record(v, err)
						if i < 2 {
							fail()
						}
					}, s.start)
				}
			}
			recovered := []any{
				run(func() { s.queries[0].Finish(1, nil) }),
				run(func() { g.Close(errClosed) }),
			}
			c.check(t, " 1 <nil>", " 1 <nil>", " 1 <nil>", " 0 closed", " 0 closed", " 0 closed", " 0 closed", " 0 closed", " 0 closed")
			if s.stopped != 2 {
				t.Errorf("%d queries were stopped, want 2", s.stopped)
			}

			g, c = New[string, int](limits), nil
			recovered = append(recovered, run(func() {
				g.Join("a", c.record("1"), func(f *query) func() {
					join(t, g, "a", c.record("2"), neverStart(t))
					fail()
					return nil
				})
			}))
			c.check(t, "1 0 "+ErrNotStarted.Error(), "2 0 "+ErrNotStarted.Error())
			checkInFlight(t, g, 0, 0)
			for i, r := range recovered {
				if (r == "boom") != (name == "panic") {
					t.Errorf("call %d: recovered %v", i, r)
				}
			}
		})
	}
}

// Wait returns the result, or the cause of the context's end as soon as that ends.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := New[string, int](limits), &server{}
		ctx, cancel := context.WithCancelCause(context.Background())
		type result struct {
			v   int
			err error
		}
		wait := func(ctx context.Context) chan result {
			results := make(chan result)
			go func() {
				v, err := g.Wait(ctx, "a", s.start)
				results <- result{v, err}
			}()
			synctest.Wait()
			return results
		}
		stays, leaves := wait(context.Background()), wait(ctx)
		checkInFlight(t, g, 1, 2)
		cancel(errLeft)
		if r := <-leaves; r != (result{0, errLeft}) {
			t.Errorf("Wait with an ended context = %v, want the cause", r)
		}
		checkInFlight(t, g, 1, 1)
		s.queries[0].Finish(4, errRefused)
		if r := <-stays; r != (result{4, errRefused}) {
			t.Errorf("Wait = %v, want the result", r)
		}
		if _, err := g.Wait(ctx, "a", neverStart(t)); err != errLeft {
			t.Errorf("Wait with a context that has ended before = %v, want its cause", err)
		}
		alone, stop := context.WithCancel(context.Background())
		leaves = wait(alone)
		stop()
		if r := <-leaves; r.err != context.Canceled {
			t.Errorf("Wait = %v, want %v", r, context.Canceled)
		}
		if s.stopped != 1 {
			t.Errorf("%d queries were stopped, want the one without waiters", s.stopped)
		}
		g.Close(errClosed)
		if _, err := g.Wait(context.Background(), "a", s.start); err != errClosed {
			t.Errorf("Wait after Close = %v, want its error", err)
		}
	})
}

// Every waiter gets one callback, and every query ends in one way, whatever happens at once.
func TestConcurrentUse(t *testing.T) {
	testkit.CheckLeaks(t)
	g := New[string, int](Limits{Flights: 3, Waiters: 20})
	var joined, called, refused, started, finished, stopped atomic.Int64
	var all, queries sync.WaitGroup
	start := func(f *query) func() {
		started.Add(1)
		if rand.IntN(4) == 0 {
			if f.Finish(1, nil) {
				finished.Add(1)
			}
		} else {
			queries.Go(func() {
				runtime.Gosched()
				if f.Finish(1, nil) {
					finished.Add(1)
				}
			})
		}
		return func() { stopped.Add(1) }
	}
	for range 4 {
		all.Go(func() {
			for i := range 3000 {
				var once atomic.Int64
				w, err := g.Join(fmt.Sprint(rand.IntN(4)), func(int, error) {
					if once.Add(1) != 1 {
						t.Error("a waiter got two callbacks")
					}
					called.Add(1)
				}, start)
				if err != nil {
					refused.Add(1)
					runtime.Gosched()
					continue
				}
				joined.Add(1)
				if rand.IntN(2) == 0 {
					all.Go(func() { w.Cancel(errLeft) })
				}
				if i == 2900 && rand.IntN(4) == 0 {
					g.Close(errClosed)
				}
			}
		})
	}
	all.Wait()
	queries.Wait()
	if joined.Load() != called.Load() {
		t.Errorf("%d waiters got %d callbacks", joined.Load(), called.Load())
	}
	if s := started.Load(); s != finished.Load()+stopped.Load() {
		t.Errorf("of %d queries, %d were finished and %d stopped", s, finished.Load(), stopped.Load())
	}
	checkInFlight(t, g, 0, 0)
	t.Logf("%d joined, %d refused, %d queries, %d finished, %d stopped", joined.Load(), refused.Load(), started.Load(), finished.Load(), stopped.Load())
}

func BenchmarkJoinFinish(b *testing.B) {
	g := New[string, int](limits)
	done := func(int, error) {}
	b.ReportAllocs()
	for b.Loop() {
		var query *query
		g.Join("www.example.org", done, func(f *Flight[string, int]) func() { query = f; return nil })
		query.Finish(1, nil)
	}
}

// When a carrier ends, the waiters of its flights, and of no others, get the error; the queries are not
// stopped, as there is nothing to stop, and the keys are free for others.
func TestFinishCarriedBy(t *testing.T) {
	g, s, calls := New[string, int](limits), &server{}, &calls{}
	carried := func(by any) Start[string, int] {
		return func(f *query) func() { f.CarriedBy(by); return s.start(f) }
	}
	join(t, g, "a", calls.record("a"), carried("one"))
	join(t, g, "a", calls.record("a2"), neverStart(t))
	join(t, g, "b", calls.record("b"), carried("two"))
	join(t, g, "c", calls.record("c"), s.start)
	g.FinishCarriedBy("one", errRefused)
	calls.check(t, "a 0 refused", "a2 0 refused")
	checkInFlight(t, g, 2, 2)
	if s.stopped != 0 || s.queries[0].Finish(1, nil) {
		t.Errorf("%d queries were stopped, or one finished twice", s.stopped)
	}
	join(t, g, "a", func(v int, err error) {
		*calls = append(*calls, fmt.Sprint("again ", v, err))
		g.FinishCarriedBy("three", errRefused) // callbacks may call everything
	}, carried("two"))
	g.FinishCarriedBy("two", errLeft)
	checkInFlight(t, g, 1, 1)
	if len(*calls) != 4 {
		t.Errorf("the callbacks were %q", *calls)
	}
}
