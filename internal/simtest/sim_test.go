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
	flagSeeds      = flag.Int("sim.seeds", 0, "run the programs of so many `seeds`; 0: a few hundred")
	flagFirst      = flag.Uint64("sim.first", 0, "the first `seed`")
	flagSeed       = flag.Int64("sim.seed", -1, "run the program of this `seed` only")
	flagProgram    = flag.String("sim.program", "", "run the program in this `file` only, which a failure has written")
	flagOperations = flag.Int64("sim.operations", 0, "fail if fewer `operations` were run")
)

// TestPrograms checks the promises of package loop with random programs.
func TestPrograms(t *testing.T) {
	if *flagProgram != "" {
		p, err := load(*flagProgram)
		if err != nil {
			t.Fatal(err)
		}
		if o := run(t, p); len(o.failures) > 0 {
			t.Fatal(description(p, o))
		}
		return
	}
	first, n := seeds()
	var total outcome
	begun, cpu := time.Now(), cpuTime()
	for seed := first; seed < first+uint64(n); seed++ {
		p := draw(seed)
		o := run(t, p)
		total.operations += o.operations
		total.simulated += o.simulated
		if len(o.failures) > 0 {
			t.Fatal(report(t, p, o))
		}
	}
	cpu = cpuTime() - cpu
	// .ci/run and CONTRIBUTING.md refer to this line.
	t.Logf("%d programs, %d operations in %v of simulated time; took %v, %v of processor time: %.0f operations a second of it", n, total.operations,
		total.simulated.Round(time.Second), time.Since(begun).Round(time.Millisecond), cpu.Round(time.Millisecond), float64(total.operations)/cpu.Seconds())
	if total.operations < *flagOperations {
		t.Errorf("%d operations were run, want %d", total.operations, *flagOperations)
	}
}

// seeds returns the first seed, and how many there are.
func seeds() (first uint64, n int) {
	switch {
	case *flagSeed >= 0:
		return uint64(*flagSeed), 1
	case *flagSeeds > 0:
		return *flagFirst, *flagSeeds
	case testkit.Long() && !testkit.Race:
		return *flagFirst, 5000
	case testkit.Race:
		return *flagFirst, 50
	}
	return *flagFirst, 300
}

// cpuTime returns the processor time that this process has used, or the time where that is not known.
func cpuTime() time.Duration {
	if used, ok := testkit.CPUTime(); ok {
		return used
	}
	return time.Since(processBegan)
}

var processBegan = time.Now()

// report shrinks a program that has failed, and describes both.
func report(t *testing.T, p *program, o outcome) string {
	kind := failureKind(o.failures)
	so := o
	short, runs := shrink(p, func(q *program) bool {
		qo := run(t, q)
		if len(qo.failures) == 0 || failureKind(qo.failures) != kind {
			return false
		}
		so = qo
		return true
	})
	const command = "go test ./internal/simtest -run TestPrograms"
	file, err := short.save("")
	if err != nil {
		file = err.Error()
	}
	return fmt.Sprintf("seed %d; to repeat it: %s -sim.seed %d\n%s\n\nthe shortest program found to fail, in %d runs; to repeat it: %s -sim.program %s\n%s",
		p.seed, command, p.seed, strings.Join(o.failures, "\n"), runs, command, file, description(short, so))
}

// description describes a run that has failed.
func description(p *program, o outcome) string {
	return fmt.Sprintf("%v\n%s\n\nits trace ends:\n%s", p, strings.Join(o.failures, "\n"), lastLines(o.trace, traceLines))
}

// traceLines is how many lines of a trace are printed.
const traceLines = 60

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// failureKind returns the part of the first failure that does not depend on numbers and names.
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
