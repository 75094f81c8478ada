package loop

import "time"

const (
	// turnBudget is how long the users' functions, and the timers, may each run in one turn
	// before connections are served. The last one may exceed it.
	turnBudget = time.Millisecond
	// maxUnmeasured is how many of them run between two readings of the clock.
	maxUnmeasured = 8
)

// A budget measures the time that a turn spends on functions or timers. To be cheap for short
// ones, it reads the clock after the first, and then after twice as many each time, up to
// maxUnmeasured. On a simulated clock no time passes in a turn, and no budget ends.
type budget struct {
	clock    *clock
	started  bool
	start    time.Duration
	done     int // items run
	nextRead int // value of done at which the clock is read next
	spent    bool
}

func (l *Loop) newBudget() budget { return budget{clock: &l.g.clock} }

// begin starts the measurement now, instead of after the first item.
func (b *budget) begin() { b.started, b.start = true, b.clock.since() }

// over must be called before each item, and counts it. It reports whether the item must wait for
// the next turn.
func (b *budget) over() bool {
	if b.spent {
		return true
	}
	if b.done == b.nextRead && b.done > 0 {
		b.read()
	}
	b.done++
	b.nextRead = max(b.nextRead, 1)
	return b.spent
}

// items returns how many items may run before the next call of over, which counts one.
func (b *budget) items() int {
	n := b.nextRead - b.done + 1
	b.done += n - 1
	return n
}

// measure makes the next call of over read the clock: the item may have been a long one.
func (b *budget) measure() { b.nextRead = b.done }

func (b *budget) read() {
	now := b.clock.since()
	if !b.started {
		b.started, b.start = true, now
	}
	b.spent = now-b.start >= turnBudget
	b.nextRead += min(b.nextRead, maxUnmeasured)
}
