package loop_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/internal/sys"
)

// seedEnv names the one seed to run.
const seedEnv = "POLLUX_TEST_SEED"

const (
	// stuckAfter is how long nothing may happen in a run.
	stuckAfter = time.Minute
	// Shrinking runs a program at most shrinkRuns times, each up to shrinkRepeats times until it
	// fails, and takes as stuck what does nothing for shrinkStuckAfter.
	shrinkRuns       = 300
	shrinkRepeats    = 4
	shrinkStuckAfter = 2 * time.Second
)

// TestModel: the promises hold together, whatever connections do. A seed draws a program: a
// configuration, connections, and steps of both ends, either of which writes unprompted, pauses,
// half-closes, fails and resets. Each callback is checked when it comes, and what has arrived
// when all is over. The scheduler is not drawn: to repeat what a seed has found may take a few
// runs (-count). A program that fails is shrunk before it is printed.
func TestModel(t *testing.T) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // package net has its own descriptors from now on
	}
	first, n := 0, 30
	switch s := os.Getenv(seedEnv); {
	case s != "":
		var err error
		if first, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		n = 1
	case conformance.Long() && raceEnabled:
		n = 300
	case conformance.Long():
		n = 3000
	case sys.OnWine():
		n = 5
	case raceEnabled:
		n = 12
	}
	for seed := first; seed < first+n; seed++ {
		p := draw(uint64(seed))
		failures := runProgram(t, p, stuckAfter)
		if len(failures) > 0 && sys.OnWine() {
			// Now and then Wine keeps the socket of a connection that was closed, so its peer
			// waits for an end that does not come. What is ours comes again.
			t.Logf("seed %d is run again: %s", seed, strings.Join(failures, "\n"))
			failures = runProgram(t, p, stuckAfter)
		}
		if len(failures) == 0 {
			continue
		}
		t.Errorf("seed %d; to repeat it: %s=%d go test -run TestModel -count 20 ./loop\n%s", seed, seedEnv, seed, strings.Join(failures, "\n"))
		short, failures := shrink(t, p, failureKind(failures))
		t.Fatalf("the shortest program that was found to fail:\n%v\n%s", short, strings.Join(failures, "\n"))
	}
}

// failureKind returns what of failures is the same from run to run.
func failureKind(failures []string) string {
	for _, f := range failures {
		if first, _, _ := strings.Cut(f, "\n"); !strings.HasPrefix(f, "nothing happens") {
			_, first, _ = strings.Cut(first, "): ")
			first, _, _ = strings.Cut(first, ", for which")
			return digits.ReplaceAllString(first, "#")
		}
	}
	return ""
}

var pairNumber = regexp.MustCompile("^pair ([0-9]+) ")

var digits = regexp.MustCompile("[0-9]+")

// shrink leaves out of a program that fails what it fails without.
func shrink(t *testing.T, p *program, kind string) (*program, []string) {
	failures := []string{"(it has not failed again)"}
	runs := 0
	fails := func(q *program) bool {
		for range shrinkRepeats {
			if runs++; runs > shrinkRuns {
				return false
			}
			if f := runProgram(t, q, shrinkStuckAfter); failureKind(f) == kind && len(f) > 0 {
				failures = f
				return true
			}
		}
		return false
	}
	if !fails(p) {
		return p, failures
	}
	if m := pairNumber.FindStringSubmatch(failures[len(failures)-1]); m != nil && len(p.pairs) > 1 {
		i, _ := strconv.Atoi(m[1])
		q := *p
		q.pairs = p.pairs[i : i+1]
		if fails(&q) {
			p = &q
		}
	}
	for smaller := true; smaller; {
		smaller = false
		for _, q := range p.reductions() {
			if fails(q) {
				p, smaller = q, true
				break
			}
		}
	}
	return p, append([]string{fmt.Sprintf("(%d runs)", runs)}, failures...)
}
