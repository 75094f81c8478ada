package uring

import (
	"testing"
	"time"
)

// A spin that is over when the turn's timeout is over, too, ends its idle period: the next ones
// are measured, and spun for again.
func TestQ11SpinThatEndsWithTheTimeout(t *testing.T) {
	b := newBench(t, small)
	const (
		tries  = 100
		learns = 5000 // periods after which it spins again at the latest, after misses
	)
	ended := 0 // spins that took the whole timeout
	for try := range tries {
		idle := b.sleep.Begin(true)
		for n := 0; !idle.Spins(); n++ {
			idle.Slept()
			if n == learns {
				t.Fatalf("after %d spins, of which %d were over with the timeout, it spins no more", try, ended)
			}
			idle = b.sleep.Begin(true)
		}
		timeout := max(time.Until(idle.Until()), 1)
		if b.spin(&timeout, &idle) {
			ended++
			continue // as enter does
		}
		idle.Slept()
	}
	if ended == 0 {
		t.Skip("no spin was over with the timeout")
	}
}
