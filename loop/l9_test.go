package loop_test

import (
	"errors"
	"testing"

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
