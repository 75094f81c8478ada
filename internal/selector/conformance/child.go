package conformance

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const childEnv = "POLLUX_TEST_CHILD"

// IsChild says that this process was started by InChild.
func IsChild() bool { return os.Getenv(childEnv) != "" }

// InChild runs the test once more in a process of its own, which nothing that it does to
// itself outlives. It returns true there.
func InChild(t *testing.T) bool {
	t.Helper()
	if IsChild() {
		return true
	}
	name := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	// A process whose threads all stand still does not end by itself.
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run="+name, "-test.v", "-test.timeout=1m")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(out), "out of memory"):
		t.Skip("skipped: the test has taken more memory from the child than Go can do without")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("skipped in the child:\n%s", out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("the child has not run the test:\n%s", out)
	}
	return false
}
