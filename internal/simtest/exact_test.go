package simtest

import (
	"strings"
	"testing"
)

// TestExact checks that a seed reproduces a run exactly: the trace has each packet and each instant.
func TestExact(t *testing.T) {
	const seeds = 60
	for seed := range uint64(seeds) {
		p := draw(seed)
		p.traced = true
		first := run(t, p)
		for range 2 {
			again := run(t, p)
			if first.trace != again.trace || first.operations != again.operations || first.simulated != again.simulated {
				t.Errorf("seed %d: two runs differ: %d and %d operations, %v and %v\n%s", seed, first.operations, again.operations, first.simulated, again.simulated, difference(first.trace, again.trace))
			}
		}
		if first.trace == "" {
			t.Fatal("the trace is empty")
		}
	}
}

// difference returns where two traces begin to differ.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			const context = 5
			from := max(0, i-context)
			return strings.Join(x[from:min(len(x), i+context)], "\n") + "\n\n" + strings.Join(y[from:min(len(y), i+context)], "\n")
		}
	}
	return "one is longer"
}
