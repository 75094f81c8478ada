package sock_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

func openDescriptors(t testing.TB) int {
	t.Helper()
	n, e := sys.OpenHandles()
	if e != 0 {
		t.Logf("cannot count descriptors: %v", e)
		return 0
	}
	return n
}
