package simtest

import "testing"

// TestExact checks that a seed reproduces a run exactly: the trace has each packet and each instant.
func TestExact(t *testing.T) {
	const seeds = 20
	for seed := range uint64(seeds) {
		p := draw(seed)
		first := run(t, p)
		for range 2 {
			again := run(t, p)
			if first.trace != again.trace || first.operations != again.operations || first.simulated != again.simulated {
				t.Fatalf("seed %d: two runs differ: %d and %d operations, %v and %v; the traces are equal: %v",
					seed, first.operations, again.operations, first.simulated, again.simulated, first.trace == again.trace)
			}
		}
		if first.trace == "" {
			t.Fatal("the trace is empty")
		}
	}
}
