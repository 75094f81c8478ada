package loop_test

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// BusyTime is at least the time spent in callbacks. (There is no upper bound: an interruption
// of a measured turn is scaled up too.)
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
		t.Errorf("BusyTime = %v after %v of work, want at least three quarters of it", busy, turns*work)
	}
}
