package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

func TestL9Offload(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2, OffloadQueue: 2})
	l := g.Loops()[0]
	block := make(chan struct{})
	answers := make(chan any, 8)
	for range 4 {
		if err := l.Offload(func() any { <-block; return "done" }, func(a any) { answers <- a }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Offload(func() any { return nil }, nil); !errors.Is(err, loop.ErrOffloadFull) {
		t.Errorf("the fifth: %v, want ErrOffloadFull", err)
	}
	close(block)
	for range 4 {
		if a := receive(t, answers, "an answer"); a != "done" {
			t.Errorf("answer %v", a)
		}
	}
	if err := l.Offload(func() any { panic("boom") }, func(a any) { answers <- a }); err != nil {
		t.Fatal(err)
	}
	if p, ok := receive(t, answers, "the panic").(*loop.PanicError); !ok || p.Value != "boom" {
		t.Errorf("the answer of a panic is %v", p)
	}
}

// Shutdown waits for the second halves, too, unless it is cut off.
func TestL9Shutdown(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, answers := g.Loops()[0], make(chan any, 2)
	if err := l.Offload(func() any { time.Sleep(50 * time.Millisecond); return "done" }, func(a any) {
		answers <- a
		if err := l.Offload(func() any { return "more" }, func(a any) { answers <- a }); err != nil {
			t.Errorf("Offload by a second half: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := len(answers); n != 2 {
		t.Errorf("%d second halves have run", n)
	}

	g, err = loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	block := make(chan bool)
	g.Loops()[0].Offload(func() any { <-block; return nil }, func(any) { t.Error("a second half came after all") })
	var e *loop.ShutdownError
	if err := g.Shutdown(canceledContext()); !errors.As(err, &e) || e.Offloaded != 1 {
		t.Errorf("Shutdown: %v", err)
	}
	for end := time.Now().Add(testTimeout); g.Loops()[0].Run(func() {}) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the loop waits for a second half, although it was cut off")
		}
	}
	close(block)
	g.Shutdown(context.Background())
}

// Work that ends its goroutine is answered, and takes no worker away.
func TestL9Goexit(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, OffloadWorkers: 2})
	l, answers := g.Loops()[0], make(chan any, 10)
	for range 10 {
		l.Offload(func() any { runtime.Goexit(); return nil }, func(a any) { answers <- a })
	}
	l.Offload(func() any { return "fine" }, func(a any) { answers <- a })
	panics := 0
	for fine := 0; panics+fine < 11; {
		switch a := receive(t, answers, "an answer").(type) {
		case *loop.PanicError:
			panics++
		default:
			if fine++; a != "fine" {
				t.Errorf("the answer is %v", a)
			}
		}
	}
	if panics != 10 {
		t.Errorf("%d of 10 were told", panics)
	}
}

// A panic that no second half is told of is logged.
func TestL9PanicOfNobodys(t *testing.T) {
	logged := make(logChan, 10)
	g := group(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(logged, nil))})
	g.Loops()[0].Offload(func() any { panic("boom") }, nil)
	if line := receive(t, logged, "a line of the log"); !strings.Contains(line, "boom") {
		t.Errorf("logged: %s", line)
	}
}

type logChan chan string

func (c logChan) Write(b []byte) (int, error) {
	c <- string(b)
	return len(b), nil
}
