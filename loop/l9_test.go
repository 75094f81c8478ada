package loop_test

import (
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// answer is what a done function of Offload gets.
type answer[T any] struct {
	value T
	err   error
}

// answersTo returns a done function that sends what it gets.
func answersTo[T any](to chan<- answer[T]) func(T, error) {
	return func(value T, err error) { to <- answer[T]{value, err} }
}

func returns[T any](value T, err error) func() (T, error) {
	return func() (T, error) { return value, err }
}

func TestL9Offload(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2, OffloadQueue: 2})
	l := g.Loops()[0]
	block := make(chan struct{})
	results := make(chan answer[string], 8)
	done := answersTo(results)
	failure := errors.New("failed")
	for range 4 {
		if err := loop.Offload(l, func() (string, error) { <-block; return "done", failure }, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := loop.Offload(l, returns(0, nil), nil); !errors.Is(err, loop.ErrOffloadFull) {
		t.Errorf("the fifth Offload: got %v, want ErrOffloadFull", err)
	}
	close(block)
	for range 4 {
		if a := receive(t, results, "a result"); a.value != "done" || a.err != failure {
			t.Errorf("done got %q, %v, want what work has returned: done, failed", a.value, a.err)
		}
	}
	if err := loop.Offload(l, func() (string, error) { panic("boom") }, done); err != nil {
		t.Fatal(err)
	}
	checkPanic(t, receive(t, results, "the panic"), "boom")
}

// checkPanic checks that a done function got the zero value and a PanicError.
func checkPanic[T comparable](t *testing.T, a answer[T], value any) {
	t.Helper()
	var p *loop.PanicError
	var zero T
	if a.value != zero || !errors.As(a.err, &p) || value != nil && p.Value != value || !strings.Contains(string(p.Stack), "loop_test.") {
		t.Errorf("done got %v, %v for a panic, want the zero value and a PanicError of %v with the stack", a.value, a.err, value)
	}
}

// Shutdown waits for the done functions, too, unless its context ends.
func TestL9Shutdown(t *testing.T) {
	g, err := newGroup(t, loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, results := g.Loops()[0], make(chan answer[string], 2)
	block, ended := make(chan bool), make(chan error, 1)
	if err := loop.Offload(l, func() (string, error) { <-block; return "done", nil }, func(s string, err error) {
		results <- answer[string]{s, err}
		if err := loop.Offload(l, returns("more", nil), answersTo(results)); err != nil {
			t.Errorf("Offload in a done function: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- g.Shutdown(t.Context()) }()
	if !testkit.Eventually(func() bool {
		_, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
		return errors.Is(err, loop.ErrClosed)
	}) {
		t.Fatal("Shutdown has not begun")
	}
	close(block)
	if err := receive(t, ended, "Shutdown"); err != nil {
		t.Error(err)
	}
	if n := len(results); n != 2 {
		t.Errorf("%d done functions ran, want 2", n)
	}
}

func TestL9ShutdownCutOff(t *testing.T) {
	g, err := newGroup(t, loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, block := g.Loops()[0], make(chan bool)
	loop.Offload(l, func() (any, error) { <-block; return nil, nil }, func(any, error) {
		t.Error("the done function was called although Shutdown was cut off")
	})
	var e *loop.ShutdownError
	if err := g.Shutdown(canceledContext()); !errors.As(err, &e) || e.Offloaded != 1 {
		t.Errorf("Shutdown: got %v, want a ShutdownError with 1 offloaded function", err)
	}
	if !testkit.Eventually(func() bool { return l.Run(func() {}) != nil }) {
		t.Fatal("the loop still waits for a done function, although Shutdown was cut off")
	}
	close(block)
	g.Shutdown(t.Context())
}

// A function that calls Goexit is reported as a panic, and does not end its worker.
func TestL9Goexit(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2})
	l, results := g.Loops()[0], make(chan answer[string], 11)
	for range 10 {
		loop.Offload(l, func() (string, error) { runtime.Goexit(); return "never", nil }, answersTo(results))
	}
	loop.Offload(l, returns("fine", nil), answersTo(results))
	fine := 0
	for range 11 {
		if a := receive(t, results, "a result"); a.err != nil {
			checkPanic(t, a, nil)
		} else if fine++; a.value != "fine" {
			t.Errorf("done got %q, want the result fine", a.value)
		}
	}
	if fine != 1 {
		t.Errorf("%d functions returned a result, want 1", fine)
	}
}

// A panic in work that no done function gets is logged: Offload got no done, or its connection is
// closed.
func TestL9PanicWithoutDone(t *testing.T) {
	for _, what := range []string{"no done function", "a closed connection"} {
		t.Run(what, func(t *testing.T) {
			logged := make(logChan, 10)
			conns := make(chan *loop.Conn, 1)
			g, _ := serve(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(logged, nil))}, func(c *loop.Conn) loop.Handler {
				conns <- c
				return echo{}
			})
			if what == "no done function" {
				loop.Offload[int](g.Loops()[0], func() (int, error) { panic("boom") }, nil)
			} else {
				c := receive(t, conns, "the connection")
				loop.Offload(c, func() (int, error) { c.Abort(); panic("boom") }, func(int, error) {
					t.Error("done was called after Abort")
				})
			}
			if line := receive(t, logged, "a line of the log"); !strings.Contains(line, "boom") {
				t.Errorf("logged %s, want boom in it", line)
			}
		})
	}
}

type logChan chan string

func (c logChan) Write(b []byte) (int, error) {
	c <- string(b)
	return len(b), nil
}

// BenchmarkOffload measures both halves, 64 calls at a time.
func BenchmarkOffload(b *testing.B) {
	g := group(b, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	work := func() (int, error) { return 100_000, nil }
	var left sync.WaitGroup
	slots := make(chan struct{}, 64)
	done := func(int, error) { <-slots; left.Done() }
	b.ReportAllocs()
	for b.Loop() {
		slots <- struct{}{}
		left.Add(1)
		if err := loop.Offload(l, work, done); err != nil {
			b.Fatal(err)
		}
	}
	left.Wait()
}
