package loop_test

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// A loop that works says that it is busy for as long, at least. (There is no bound
// above: what interrupts a measured turn is scaled up too.)
func TestBusyTime(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	l := g.Loops()[0]
	const turns, work = 320, 500 * time.Microsecond
	left, done := turns, make(chan struct{})
	var step func()
	step = func() {
		for start := time.Now(); time.Since(start) < work; {
		}
		if left--; left == 0 {
			close(done)
			return
		}
		l.Run(step)
	}
	l.Run(step)
	receive(t, done, "the end of the work")
	if busy := g.Stats().Loops[0].BusyTime; busy < turns*work*3/4 {
		t.Errorf("busy for %v of %v", busy, turns*work)
	}
}
