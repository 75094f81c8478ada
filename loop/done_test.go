package loop_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

func isDone(l *loop.Loop) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// Done is closed once the loop runs no function any more, and not before.
func TestDoneAfterShutdown(t *testing.T) {
	testkit.CheckLeaks(t)
	g := group(t, loop.Config{Loops: 2})
	l := g.Loops()[0]
	began, out, returned := make(chan bool), make(chan bool), false
	if err := l.Run(func() { close(began); <-out; returned = true }); err != nil {
		t.Fatal(err)
	}
	receive(t, began, "the function")
	shutdown := make(chan error)
	go func() { shutdown <- g.Shutdown(t.Context()) }()
	receive(t, g.Loops()[1].Done(), "the end of the other loop")
	if isDone(l) {
		t.Error("Done is closed while a function runs on the loop")
	}
	close(out)
	receive(t, l.Done(), "the end of the loop")
	if !returned { // read without a lock: Done orders it after the loop's last function
		t.Error("Done was closed before the function had returned")
	}
	if err := receive(t, shutdown, "Shutdown"); err != nil {
		t.Error(err)
	}
	if err := l.Run(func() {}); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Run after Done: %v, want ErrClosed", err)
	}
}

// A loop that fails is done, too; the others are not.
func TestDoneAfterFailure(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	loops := g.Loops()
	if err := loops[0].Run(runtime.Goexit); err != nil {
		t.Fatal(err)
	}
	receive(t, loops[0].Done(), "the end of the loop")
	if isDone(loops[1]) {
		t.Error("a loop is done because another one has failed")
	}
}

// OnLoop is true on the loops of the group, in functions and timers, and false elsewhere.
func TestOnLoop(t *testing.T) {
	g, other := group(t, loop.Config{Loops: 2}), group(t, loop.Config{Loops: 1})
	got := make(chan [2]bool)
	ask := func() { got <- [2]bool{g.OnLoop(), other.OnLoop()} }
	for _, l := range g.Loops() {
		l.Run(ask)
		if on := receive(t, got, "the answer"); on != [2]bool{true, false} {
			t.Errorf("in a function on the loop: %v, want true for its group only", on)
		}
		l.AfterFunc(0, ask)
		if on := receive(t, got, "the answer"); on != [2]bool{true, false} {
			t.Errorf("in a timer on the loop: %v, want true for its group only", on)
		}
	}
	go ask()
	if on := receive(t, got, "the answer"); on != [2]bool{} {
		t.Errorf("in another goroutine: %v, want false", on)
	}
}
