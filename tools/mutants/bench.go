package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A mutant may make a test wait forever. The limit is a multiple of what the same command takes
// without a mistake, and not less than minTimeout, so that a busy machine does not reach it.
const (
	minTimeout    = 10 * time.Second
	timeoutFactor = 20
	// baseTimeout is the limit without a mistake.
	baseTimeout = 10 * time.Minute
	// killAfter is how long after the limit a test program is killed that does not end by itself.
	killAfter = 30 * time.Second
)

// maxDetails is how many lines of a test's output are printed.
const maxDetails = 12

// bench builds and runs test programs in a temporary folder.
type bench struct {
	root    string // of the module, absolute
	scratch string
	took    map[string]time.Duration // what each command takes without a mistake, by its line

	minTimeout time.Duration // the constant, except in tests
}

// verdict is what the tests have found of a mutant.
type verdict struct {
	caught  bool
	by      string   // the tests that failed, or why it is not caught
	details []string // the beginning of what they report
}

func newBench(root string) (*bench, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	return &bench{root: root, scratch: scratch, took: map[string]time.Duration{}, minTimeout: minTimeout}, nil
}

func (b *bench) close() { os.RemoveAll(b.scratch) }

// runUnchanged runs each command of the mutants on the unchanged library, where it must pass.
func (b *bench) runUnchanged(out io.Writer, mutants []*mutant) error {
	folder, began := filepath.Join(b.scratch, "unchanged"), time.Now()
	if err := os.Mkdir(folder, 0o777); err != nil {
		return err
	}
	programs := map[string]string{}
	for _, m := range mutants {
		for _, c := range m.tests {
			if _, ok := b.took[c.line]; ok {
				continue
			}
			if err := b.build(folder, "", c.pkg, programs); err != nil {
				return fmt.Errorf("%s does not build without a mistake: %w", c.pkg, err)
			}
			start := time.Now()
			output, err := b.runTest(programs[c.pkg], c, baseTimeout)
			if err != nil {
				return fmt.Errorf("without a mistake, go test %s fails: %w\n%s", c.line, err, output)
			}
			if !ranTest.Match(output) {
				return fmt.Errorf("go test %s runs no test", c.line)
			}
			b.took[c.line] = time.Since(start)
		}
	}
	fmt.Fprintf(out, "%d commands pass without a mistake, %.0f s\n", len(b.took), time.Since(began).Seconds())
	return nil
}

var ranTest = regexp.MustCompile(`(?m)^--- PASS: `)

// test runs the commands of a mutant, each of which must fail.
func (b *bench) test(m *mutant) verdict {
	folder := filepath.Join(b.scratch, m.name)
	defer os.RemoveAll(folder)
	overlay, err := b.writeOverlay(folder, m)
	if err != nil {
		return verdict{by: "not tested", details: headOf(err.Error())}
	}
	v := verdict{caught: true}
	programs := map[string]string{}
	for _, c := range m.tests {
		if err := b.build(folder, overlay, c.pkg, programs); err != nil {
			return verdict{by: "it does not build", details: headOf(err.Error())}
		}
		limit := max(b.minTimeout, timeoutFactor*b.took[c.line])
		output, err := b.runTest(programs[c.pkg], c, limit)
		if err == nil {
			return verdict{by: "go test " + c.line + " passes"}
		}
		if v.by != "" {
			v.by += ", "
		}
		v.by += c.pkg + " " + failedTest(output)
		v.details = append(v.details, headOf(withoutProgress(string(output)))...)
	}
	return v
}

// writeOverlay writes the files that a mutant changes to folder, and the list of them for -overlay,
// whose path it returns.
func (b *bench) writeOverlay(folder string, m *mutant) (overlay string, err error) {
	files, err := m.apply(b.root)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(folder, 0o777); err != nil {
		return "", err
	}
	var list struct{ Replace map[string]string }
	list.Replace = map[string]string{}
	for path, text := range files {
		file := filepath.Join(folder, strconv.Itoa(len(list.Replace))+".go")
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			return "", err
		}
		list.Replace[path] = file
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, encoded, 0o666)
}

// build builds the test program of a package, with an overlay unless that is empty, and adds it to
// programs unless it is there.
func (b *bench) build(folder, overlay, pkg string, programs map[string]string) error {
	if programs[pkg] != "" {
		return nil
	}
	program := filepath.Join(folder, strconv.Itoa(len(programs))+".test.exe") // Windows needs a suffix
	args := []string{"test", "-c", "-vet=off", "-o", program}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	build := exec.Command("go", append(args, pkg)...)
	build.Dir = b.root
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	programs[pkg] = program
	return nil
}

// runTest runs a test program in the folder of its package, as go test does, until the first failure.
func (b *bench) runTest(program string, c command, limit time.Duration) (output []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit+killAfter)
	defer cancel()
	args := append([]string{"-test.v", "-test.failfast", "-test.timeout=" + limit.String()}, c.args...)
	test := exec.CommandContext(ctx, program, args...)
	test.Dir = filepath.Join(b.root, filepath.FromSlash(c.pkg))
	test.Env = append(os.Environ(), c.env...)
	test.WaitDelay = killAfter // a child of the test may keep the pipe open
	var all bytes.Buffer
	test.Stdout, test.Stderr = &all, &all
	err = test.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return all.Bytes(), err
}

var (
	failed   = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	timedOut = regexp.MustCompile(`(?m)^panic: test timed out after (\S+)`)
	started  = regexp.MustCompile(`(?m)^=== RUN +(\S+)`)
	progress = regexp.MustCompile(`^(=== |\s*--- (PASS|SKIP): )`)
)

// failedTest returns the name of the test that has failed, by the output of the test program. The
// name of one that ended the program by a panic is that of the last test that was started.
func failedTest(output []byte) string {
	name := ""
	if all := started.FindAllSubmatch(output, -1); len(all) > 0 {
		name = string(all[len(all)-1][1])
	}
	if m := timedOut.FindSubmatch(output); m != nil {
		return fmt.Sprintf("%s (did not end within %s)", name, m[1])
	}
	if m := failed.FindSubmatch(output); m != nil {
		return string(m[1])
	}
	return name + " (ended the program)"
}

// withoutProgress removes the lines about tests that have begun, passed or were skipped.
func withoutProgress(output string) string {
	var rest strings.Builder
	for line := range strings.Lines(output) {
		if !progress.MatchString(line) {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// headOf returns the first lines of a text.
func headOf(text string) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[:min(len(lines), maxDetails)]
}
