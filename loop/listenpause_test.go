package loop_test

import (
	"errors"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// awaitTurns waits until each loop of the group has done what it was asked for before, and had two turns since.
func awaitTurns(t *testing.T, g *loop.Group) {
	t.Helper()
	for range 3 {
		for _, l := range g.Loops() {
			done := make(chan bool)
			if err := l.Run(func() { close(done) }); err != nil {
				t.Fatal(err)
			}
			receive(t, done, "a function on the loop")
		}
	}
}

// A paused listener accepts nothing, and its clients are served after Resume.
func TestListenerPause(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	accepted := make(chan bool, 8)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { accepted <- true; return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // pauses do not add up
		if err := ln.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	awaitTurns(t, g)
	first, second := dial(t, ln.Addr()), dial(t, ln.Addr())
	awaitTurns(t, g)
	if n := len(accepted); n > 0 {
		t.Errorf("%d connections were accepted by a paused listener", n)
	}
	if err := ln.Resume(); err != nil {
		t.Fatal(err)
	}
	ping(t, first)
	ping(t, second)
	ln.Close()
	if err := ln.Pause(); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Pause of a closed listener: %v", err)
	}
}

// Loop.OnLoop is true where the loop runs, and nowhere else, also while it runs.
func TestLoopOnLoop(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	l, other := g.Loops()[0], g.Loops()[1]
	on, elsewhere := make(chan bool, 3), make(chan bool)
	check := func() {
		on <- l.OnLoop()
		on <- other.OnLoop()
		go func() { elsewhere <- l.OnLoop() }()
		on <- <-elsewhere
	}
	for what, run := range map[string]func(){
		"a function": func() { l.Run(check) },
		"a timer":    func() { l.AfterFunc(1, check) },
	} {
		run()
		for i, want := range []bool{true, false, false} {
			if got := receive(t, on, what); got != want {
				t.Errorf("%s, %d: OnLoop = %v, want %v", what, i, got, want)
			}
		}
	}
	if l.OnLoop() {
		t.Error("OnLoop is true outside of the loop")
	}
}
