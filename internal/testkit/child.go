package testkit

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

const childEnv = "POLLUX_TEST_CHILD"

// childLimit ends a child that hangs; the child's own limit, a minute, ends it before, with the
// stacks of its goroutines. A process whose threads are all blocked does not end by itself.
const childLimit = 90 * time.Second

// IsChild reports whether this process was started by InChild.
func IsChild() bool { return os.Getenv(childEnv) != "" }

// InChild runs the test again in a child process, so that changes to the process (limits,
// memory, system calls that are denied) end with it. It returns true in the child, and false in
// the parent, after the child has exited and its result has been reported.
func InChild(t *testing.T) bool {
	t.Helper()
	if IsChild() {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), childLimit)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run="+runPattern(t.Name()), "-test.v", "-test.timeout=1m")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(out), "out of memory"):
		t.Skip("skipped: the child ran out of memory")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("skipped in the child:\n%s", out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("the child did not run the test:\n%s", out)
	}
	return false
}

// runPattern returns the value of -test.run that selects the named test only.
func runPattern(name string) string {
	elements := strings.Split(name, "/")
	for i, e := range elements {
		elements[i] = "^" + regexp.QuoteMeta(e) + "$"
	}
	return strings.Join(elements, "/")
}
