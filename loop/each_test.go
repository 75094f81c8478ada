package loop_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Each calls the function once for each open connection, on its loop, as a callback: what it
// writes is sent, and a panic closes the connection. The calls of a second Each come later.
func TestEachVisitsEachConnOnce(t *testing.T) {
	const n = 30
	g := group(t, loop.Config{Loops: 3, Logger: failOnLog(t, "handler panicked")})
	a := acceptN(t, g, n)
	var visits sync.Map
	var panicking atomic.Pointer[loop.Conn]
	panicking.Store(a[n-1].c)
	visit := func(name string) func(c *loop.Conn) {
		return func(c *loop.Conn) {
			count, _ := visits.LoadOrStore(c, new(atomic.Int64))
			count.(*atomic.Int64).Add(1)
			c.Write([]byte(name))
			if panicking.CompareAndSwap(c, nil) {
				panic("visited")
			}
		}
	}
	for _, name := range []string{"one", "two"} {
		if err := g.Each(visit(name)); err != nil {
			t.Fatal(err)
		}
	}
	for i, x := range a {
		want := "onetwo"
		if i == n-1 {
			want = "one"
			var p *loop.PanicError
			if why := receive(t, x.closed, "Closed"); !errors.As(why, &p) {
				t.Errorf("the reason of the end is %v, want a *PanicError", why)
			}
		}
		got := make([]byte, len(want))
		if i == n-1 && hasAdversity(t) {
			continue // it is reset, perhaps before it has sent all
		}
		if _, err := io.ReadFull(x.peer, got); err != nil || string(got) != want {
			t.Errorf("connection %d got %q, %v, want %q", i, got, err, want)
		}
		count, _ := visits.Load(x.c)
		if k := int(count.(*atomic.Int64).Load()); k != len(want)/3 {
			t.Errorf("connection %d was visited %d times, want %d", i, k, len(want)/3)
		}
	}
}

// A function that takes the whole budget of a turn is called for one connection in a turn, and
// functions of Run get their turns in between.
func TestL5EachIsDividedOverTurns(t *testing.T) {
	const n = 10
	g := group(t, loop.Config{Loops: 1})
	acceptN(t, g, n)
	l := g.Loops()[0]
	var turns, visits int
	last := make(chan int, 1)
	var count func()
	count = func() {
		if turns++; visits < n {
			l.Run(count)
			return
		}
		last <- turns
	}
	l.Run(func() {
		count()
		g.Each(func(*loop.Conn) {
			visits++
			busy()
		})
	})
	if got := receive(t, last, "the last visit"); got < n {
		t.Errorf("%d visits that take the budget of a turn were made within %d turns", n, got)
	}
}

// busy takes more time than the budget of a turn.
func busy() {
	for end := time.Now().Add(2 * time.Millisecond); time.Now().Before(end); {
	}
}

// Connections that end before their visit are not visited: not those either that the function
// ends.
func TestEachSkipsConnsThatEnd(t *testing.T) {
	const n = 20
	g := group(t, loop.Config{Loops: 1})
	a := acceptN(t, g, n)
	visited := make(chan int, 1)
	g.Loops()[0].Run(func() {
		count := 0
		g.Each(func(c *loop.Conn) {
			count++
			for _, x := range a {
				x.c.Abort()
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("Write after Abort returned %v, want ErrClosed", err)
			}
		})
		g.Each(func(*loop.Conn) { t.Error("a connection was visited after Abort") })
		g.Loops()[0].AfterFunc(1, func() { visited <- count })
	})
	if got := receive(t, visited, "the visits"); got != 1 {
		t.Errorf("%d connections were visited, want 1, which has aborted all", got)
	}
}

func TestEachErrors(t *testing.T) {
	g, err := newGroup(t, loop.Config{Loops: 2, MaxQueuedFuncs: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Each(nil); !errors.Is(err, loop.ErrBadArgument) {
		t.Errorf("Each(nil) returned %v, want ErrBadArgument", err)
	}
	blocked, release := make(chan struct{}), make(chan struct{})
	g.Loops()[1].Run(func() { close(blocked); <-release })
	receive(t, blocked, "the function")
	for range 3 {
		if err := g.Each(func(*loop.Conn) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Each(func(*loop.Conn) { t.Error("called after ErrQueueFull") }); !errors.Is(err, loop.ErrQueueFull) {
		t.Errorf("Each number 4 returned %v, want ErrQueueFull", err)
	}
	close(release)
	if !testkit.Eventually(func() bool { return g.Stats().Loops[1].Queued == 0 }) {
		t.Error("calls of Each are still counted after their end")
	}
	acceptN(t, g, 1)
	for range 10 { // the place of each is free again
		visited := make(chan struct{})
		if err := g.Each(func(*loop.Conn) { close(visited) }); err != nil {
			t.Fatal(err)
		}
		receive(t, visited, "the visit")
		barrier(t, g)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Shutdown(ctx)
	if err := g.Each(func(*loop.Conn) { t.Error("called after Shutdown") }); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Each after Shutdown returned %v, want ErrClosed", err)
	}
}

// While connections come and go, and the group shuts down, no connection is visited twice by one
// Each, and those that are open all the time are.
func TestEachDuringChurn(t *testing.T) {
	g := group(t, loop.Config{Loops: 3})
	stay := acceptN(t, g, 20)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for range 4 {
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := dial(t, ln.Addr())
				c.SetLinger(0)
				c.Close()
			}
		})
	}
	for range 50 {
		var mu sync.Mutex
		visits := map[*loop.Conn]int{}
		if err := g.Each(func(c *loop.Conn) {
			if mu.Lock(); visits[c] > 0 {
				t.Error("a connection is visited twice")
			}
			visits[c]++
			mu.Unlock()
		}); err != nil {
			t.Fatal(err)
		}
		all := func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, x := range stay {
				if visits[x.c] == 0 {
					return false
				}
			}
			return true
		}
		if !testkit.Eventually(all) {
			t.Fatal("a connection that is open is not visited")
		}
	}
	close(stop)
	churn.Wait()
}
