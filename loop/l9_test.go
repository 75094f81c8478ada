package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

func TestL9Offload(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2, OffloadQueue: 2})
	l := g.Loops()[0]
	block := make(chan struct{})
	results := make(chan any, 8)
	for range 4 {
		if err := l.Offload(func() any { <-block; return "done" }, func(a any) { results <- a }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Offload(func() any { return nil }, nil); !errors.Is(err, loop.ErrOffloadFull) {
		t.Errorf("the fifth Offload: got %v, want ErrOffloadFull", err)
	}
	close(block)
	for range 4 {
		if a := receive(t, results, "a result"); a != "done" {
			t.Errorf("done got %v, want the result done", a)
		}
	}
	if err := l.Offload(func() any { panic("boom") }, func(a any) { results <- a }); err != nil {
		t.Fatal(err)
	}
	if p, ok := receive(t, results, "the panic").(*loop.PanicError); !ok || p.Value != "boom" {
		t.Errorf("done got %v for a panic, want a PanicError", p)
	}
}

// Shutdown waits for the done functions, too, unless its context ends.
func TestL9Shutdown(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, results := g.Loops()[0], make(chan any, 2)
	if err := l.Offload(func() any { time.Sleep(50 * time.Millisecond); return "done" }, func(a any) {
		results <- a
		if err := l.Offload(func() any { return "more" }, func(a any) { results <- a }); err != nil {
			t.Errorf("Offload in a done function: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := len(results); n != 2 {
		t.Errorf("%d done functions ran, want 2", n)
	}

	g, err = loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	block := make(chan bool)
	g.Loops()[0].Offload(func() any { <-block; return nil }, func(any) { t.Error("the done function was called although Shutdown was cut off") })
	var e *loop.ShutdownError
	if err := g.Shutdown(canceledContext()); !errors.As(err, &e) || e.Offloaded != 1 {
		t.Errorf("Shutdown: got %v, want a ShutdownError with 1 offloaded function", err)
	}
	if !testkit.Eventually(func() bool { return g.Loops()[0].Run(func() {}) != nil }) {
		t.Fatal("the loop still waits for a done function, although Shutdown was cut off")
	}
	close(block)
	g.Shutdown(context.Background())
}

// A function that calls Goexit is reported as a panic, and does not end its worker.
func TestL9Goexit(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2})
	l, results := g.Loops()[0], make(chan any, 10)
	for range 10 {
		l.Offload(func() any { runtime.Goexit(); return nil }, func(a any) { results <- a })
	}
	l.Offload(func() any { return "fine" }, func(a any) { results <- a })
	panics := 0
	for fine := 0; panics+fine < 11; {
		switch a := receive(t, results, "a result").(type) {
		case *loop.PanicError:
			panics++
		default:
			if fine++; a != "fine" {
				t.Errorf("done got %v, want the result fine", a)
			}
		}
	}
	if panics != 10 {
		t.Errorf("done got a PanicError %d times, want 10", panics)
	}
}

// A panic in Offload without a done function is logged.
func TestL9PanicWithoutDone(t *testing.T) {
	logged := make(logChan, 10)
	g := group(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(logged, nil))})
	g.Loops()[0].Offload(func() any { panic("boom") }, nil)
	if line := receive(t, logged, "a line of the log"); !strings.Contains(line, "boom") {
		t.Errorf("logged %s, want boom in it", line)
	}
}

type logChan chan string

func (c logChan) Write(b []byte) (int, error) {
	c <- string(b)
	return len(b), nil
}
