package simtest

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

var (
	flagSeeds   = flag.Int("sim.seeds", 0, "run the programs of so many seeds")
	flagFirst   = flag.Uint64("sim.first", 0, "the first seed")
	flagSeed    = flag.Int64("sim.seed", -1, "run the program of this seed only")
	flagMinimum = flag.Int64("sim.operations", 0, "fail if fewer operations were run")
)

// TestPrograms checks the promises of package loop with random programs.
func TestPrograms(t *testing.T) {
	first, n := *flagFirst, 300
	switch {
	case *flagSeed >= 0:
		first, n = uint64(*flagSeed), 1
	case *flagSeeds > 0:
		n = *flagSeeds
	case testkit.Long():
		n = 5000
	case testkit.Race:
		n = 50
	}
	var operations int64
	var simulated time.Duration
	begun := time.Now()
	for seed := first; seed < first+uint64(n); seed++ {
		p := draw(seed)
		o := run(t, p)
		operations += o.operations
		simulated += o.simulated
		if len(o.failures) > 0 {
			t.Fatal(report(t, p, o))
		}
	}
	took := time.Since(begun)
	t.Logf("%d programs, %d operations, %v simulated, in %v: %.0f operations a second", n, operations, simulated.Round(time.Second), took.Round(time.Millisecond), float64(operations)/took.Seconds())
	if operations < *flagMinimum {
		t.Errorf("%d operations were run, want %d", operations, *flagMinimum)
	}
}

// report shrinks a program that has failed, and describes it.
func report(t *testing.T, p *program, o outcome) string {
	short, so := p, o
	kind := failureKind(o.failures)
	_, runs := shrink(p, func(q *program) bool {
		qo := run(t, q)
		if len(qo.failures) == 0 || failureKind(qo.failures) != kind {
			return false
		}
		short, so = q, qo
		return true
	})
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d; to repeat it: go test ./internal/simtest -run TestPrograms -sim.seed %d\n%s\n", p.seed, p.seed, strings.Join(o.failures, "\n"))
	fmt.Fprintf(&b, "\nthe shortest program found to fail, in %d runs:\n%v\n%s\n\nits trace ends:\n%s", runs, short, strings.Join(so.failures, "\n"), lastLines(so.trace, traceLines))
	return b.String()
}

// traceLines is how many lines of a trace are printed.
const traceLines = 60

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// failureKind returns the part of the first failure that does not depend on numbers.
func failureKind(failures []string) string {
	first, _, _ := strings.Cut(failures[0], "\n")
	if _, after, found := strings.Cut(first, "): "); found {
		first = after
	}
	first, _, _ = strings.Cut(first, ", for which")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, first)
}
