package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

// A clock is what a group measures time with: package time's, which is that of the bubble in a test
// under testing/synctest, or one that a test advances (driver.Simulation.Clock). Timers, timeouts,
// budgets and statistics use it, so that a run on a simulated network depends on nothing else. What
// bounds a wait of another goroutine for a loop in a callback (statsTimeout, stuckTimeout) does not:
// such a callback may wait for the clock.
type clock struct {
	manual driver.Clock // nil: package time's
	began  time.Time
}

func newClock(sim driver.Simulation) clock {
	var c clock
	if sim != nil {
		c.manual = sim.Clock()
	}
	if c.began = time.Now(); c.manual != nil {
		c.began = c.manual.Now()
	}
	return c
}

// since returns the time since the group began.
func (c *clock) since() time.Duration {
	if c.manual != nil {
		return c.manual.Now().Sub(c.began)
	}
	return time.Since(c.began)
}

// clock returns the current time, in nanoseconds since the group began.
func (l *Loop) clock() int64 { return int64(l.g.clock.since()) }
