package uring

import (
	"testing"
	"time"
)

// A spin that lasts until the turn's timeout ends its idle period too: the next periods are
// measured, and spin again.
func TestQ11SpinThatEndsWithTheTimeout(t *testing.T) {
	b := newBench(t, small)
	const (
		tries  = 100
		learns = 100_000 // after misses, it spins again within so many idle periods; a busy machine makes some of them long
	)
	ended := 0 // spins that lasted until the timeout
	for try := range tries {
		idle := b.sleep.Begin(true)
		for n := 0; !idle.Spins(); n++ {
			idle.Slept()
			if n == learns {
				t.Fatalf("after %d spins, of which %d lasted until the timeout, it no longer spins", try, ended)
			}
			idle = b.sleep.Begin(true)
		}
		timeout := max(time.Until(idle.Until()), 1)
		if b.spin(&timeout, &idle) {
			ended++
			continue // without Slept, as in enter
		}
		idle.Slept()
	}
	if ended == 0 {
		t.Skip("no spin lasted until the timeout")
	}
}
