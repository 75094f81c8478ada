package loop

import "time"

const (
	// turnBudget is how long the functions of users, and the timers, may each take in one
	// turn before the connections have theirs. The last one of them may take it past that.
	turnBudget = time.Millisecond
	// maxUnmeasured is how many of them run between two looks at the clock.
	maxUnmeasured = 8
)

// A budget measures what a turn spends on functions or timers. To be cheap where they are
// short it reads the clock after the first, and then after twice as many each time, up to
// maxUnmeasured.
type budget struct {
	start time.Time
	done  int // items
	look  int // after so many the clock is read
	spent bool
}

// over is called before each item, and reports whether it is to wait for the next turn.
func (b *budget) over() bool {
	if b.spent {
		return true
	}
	if b.done == b.look && b.done > 0 {
		b.read()
	}
	b.done++
	b.look = max(b.look, 1)
	return b.spent
}

// items returns how many items may run until over is to be asked again, which counts one.
func (b *budget) items() int {
	n := b.look - b.done + 1
	b.done += n - 1
	return n
}

func (b *budget) read() {
	now := time.Now()
	if b.start.IsZero() {
		b.start = now
	}
	b.spent = now.Sub(b.start) >= turnBudget
	b.look += min(b.look, maxUnmeasured)
}
