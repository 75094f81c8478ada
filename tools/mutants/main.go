// Mutants checks the tests: it breaks the library on purpose, one mistake at a time, and requires
// that the tests named for that mistake fail. Each mistake is a file in patches/.
//
//	GOWORK=off go -C tools run ./mutants              # all of them
//	GOWORK=off go -C tools run ./mutants -v lost      # those with "lost" in their name, with what the tests report
//
// Nothing in the repository changes meanwhile: the compiler reads the changed files from a temporary
// folder (go help build, -overlay). Before that, the same tests must pass without a mistake. It
// fails if a mistake is not found, if a mutant does not build, or if a patch does not match the
// sources any more.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// defaultJobs is how many mutants are tested at once: tests wait more than they compute.
const defaultJobs = 2

func main() {
	root := flag.String("root", "..", "the `folder` of the library's module")
	patches := flag.String("patches", "mutants/patches", "the `folder` of the patches")
	jobs := flag.Int("jobs", defaultJobs, "test `n` mutants at once")
	verbose := flag.Bool("v", false, "print what each failing test reports")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mutants [flags] [part of a mutant's name …]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(os.Stdout, *root, *patches, *jobs, *verbose, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run tests the mutants whose name contains one of the given parts, or all if there are no parts, and
// writes a line about each to out.
func run(out io.Writer, root, patches string, jobs int, verbose bool, parts []string) error {
	if jobs < 1 {
		return fmt.Errorf("-jobs is %d; it must be at least 1", jobs)
	}
	mutants, err := load(patches)
	if err != nil {
		return err
	}
	if len(parts) > 0 {
		mutants = slices.DeleteFunc(mutants, func(m *mutant) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(m.name, part) })
		})
	}
	if len(mutants) == 0 {
		return fmt.Errorf("no mutant in %s has a name with %q", patches, parts)
	}
	b, err := newBench(root)
	if err != nil {
		return err
	}
	defer b.close()
	// All patches must match before the first test runs: moved code is reported at once.
	var mismatches []error
	for _, m := range mutants {
		if _, err := m.apply(b.root); err != nil {
			mismatches = append(mismatches, err)
		}
	}
	if err := errors.Join(mismatches...); err != nil {
		return err
	}
	if err := b.runUnchanged(out, mutants); err != nil {
		return err
	}
	return report(out, b, mutants, jobs, verbose)
}

// report tests the mutants, jobs at a time, and writes a line about each as soon as it is known.
func report(out io.Writer, b *bench, mutants []*mutant, jobs int, verbose bool) error {
	var (
		began   = time.Now()
		mu      sync.Mutex // guards out and missed
		missed  int
		workers sync.WaitGroup
		next    = make(chan *mutant)
	)
	for range jobs {
		workers.Go(func() {
			for m := range next {
				start := time.Now()
				v := b.test(m)
				mu.Lock()
				if !v.caught {
					missed++
				}
				writeVerdict(out, m, v, time.Since(start), verbose)
				mu.Unlock()
			}
		})
	}
	for _, m := range mutants {
		next <- m
	}
	close(next)
	workers.Wait()
	fmt.Fprintf(out, "%d mutants, %d caught, %.0f s\n", len(mutants), len(mutants)-missed, time.Since(began).Seconds())
	if missed > 0 {
		return fmt.Errorf("%d of %d mistakes were not found: write a test that fails, and name it in the patch", missed, len(mutants))
	}
	return nil
}

// writeVerdict writes the line about a mutant, and what the tests have reported if that is asked for
// or explains why the mutant was not caught.
func writeVerdict(out io.Writer, m *mutant, v verdict, took time.Duration, verbose bool) {
	word := "caught  "
	if !v.caught {
		word = "SURVIVED"
	}
	fmt.Fprintf(out, "%s  %-28s %5.1f s  %s\n", word, m.name, took.Seconds(), v.by)
	if !v.caught {
		fmt.Fprintf(out, "\t%s\n", m.about)
	}
	if verbose || !v.caught {
		for _, line := range v.details {
			fmt.Fprintf(out, "\t| %s\n", line)
		}
	}
}
