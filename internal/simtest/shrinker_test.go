package simtest

import (
	"slices"
	"testing"
)

// TestShrink checks that shrinking finds the cause of an artificial failure among everything else.
func TestShrink(t *testing.T) {
	for seed := range uint64(20) {
		p := draw(seed)
		p.steps = slices.Insert(p.steps, len(p.steps)/3, step{conn: 0, op: opPause, n: 5000, from: fromRun, after: 1})
		p.steps = append(p.steps, step{conn: 0, op: opAbort, from: fromTimer})
		calls := 0
		fails := func(q *program) bool {
			calls++
			pause := slices.IndexFunc(q.steps, func(s step) bool { return s.conn == 0 && s.op == opPause && s.n > 1000 })
			abort := slices.IndexFunc(q.steps, func(s step) bool { return s.conn == 0 && s.op == opAbort && s.from == fromTimer })
			return pause >= 0 && abort > pause
		}
		before := p.String()
		q, runs := shrink(p, fails)
		if p.String() != before {
			t.Fatal("shrink has changed its argument")
		}
		if runs != calls || runs > maxShrinkRuns {
			t.Errorf("seed %d: %d runs, counted %d", seed, calls, runs)
		}
		if len(q.steps) != 2 || q.steps[0].n > 2000 || q.steps[0].after != 0 || q.steps[0].from != fromScript || q.steps[1].from != fromTimer {
			t.Errorf("seed %d: shrunk to\n%v", seed, q)
		}
		if q.setting.loops != 1 || q.network.peerHosts != 1 || q.network.adversity != 0 {
			t.Errorf("seed %d: the settings are not the simplest: %v", seed, q)
		}
	}
}

// TestShrinkGivesUp checks that shrinking ends if everything fails, or nothing does.
func TestShrinkGivesUp(t *testing.T) {
	p := draw(1)
	if q, _ := shrink(p, func(*program) bool { return true }); len(q.steps) != 0 {
		t.Errorf("%d steps are left of a program that always fails", len(q.steps))
	}
	if q, runs := shrink(p, func(*program) bool { return false }); q != p || runs > maxShrinkRuns {
		t.Errorf("a program that fails only once was shrunk, in %d runs", runs)
	}
}

// TestDrawIsDetermined checks that a seed determines the program, and that seeds differ.
func TestDrawIsDetermined(t *testing.T) {
	for seed := range uint64(50) {
		if p, q := draw(seed), draw(seed); !p.equal(q) || p.String() != q.String() {
			t.Fatalf("two programs of seed %d", seed)
		}
		if draw(seed).equal(draw(seed + 1)) {
			t.Fatalf("one program of seeds %d and %d", seed, seed+1)
		}
	}
}
