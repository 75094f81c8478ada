package exchange

import (
	"math"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/loop"
)

// maxAlarms is how many alarms ring in one turn of the loop.
const maxAlarms = 256

// alarms are the timers of an exchanger: they have a wheel of their own, which costs no allocation and no
// lock for each query, and one timer of the loop.
type alarms struct {
	wheel *wheel.Wheel
	timer *loop.Timer
	next  int64 // when timer fires, which is not after the first alarm; never: it does not run
}

const never = math.MaxInt64

// startAlarm makes t fire at the given time of x.now, or soon. It moves one that runs.
func (x *Exchanger) startAlarm(t *wheel.Timer, at int64) {
	x.alarms.wheel.Start(t, at)
	x.setAlarm(at)
}

func (x *Exchanger) stopAlarm(t *wheel.Timer) { x.alarms.wheel.Stop(t) }

// setAlarm makes the timer fire at the given time, unless it does so earlier.
func (x *Exchanger) setAlarm(at int64) {
	a := &x.alarms
	switch delay := time.Duration(at - x.now()); {
	case a.timer == nil:
		a.timer = x.loop.AfterFunc(delay, x.ring)
	case at < a.next:
		a.timer.Reset(delay)
	default:
		return
	}
	a.next = at
}

// ring fires the alarms that are due. Those that were stopped leave the timer running: it rings in vain once.
func (x *Exchanger) ring() {
	a := &x.alarms
	a.next = never
	now := x.now()
	if _, more := a.wheel.Advance(now, maxAlarms); more {
		x.setAlarm(now)
	} else if next, ok := a.wheel.Next(); ok && !x.closed {
		x.setAlarm(next)
	}
}

// stop is called when no alarm is needed any more.
func (a *alarms) stop() {
	if a.timer != nil {
		a.timer.Stop()
		a.next = never
	}
}
