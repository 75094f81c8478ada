package pollux_test

import (
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/internal/testkit"
)

// TestConformance runs the suite on every backend that this machine can run.
func TestConformance(t *testing.T) {
	for _, b := range pollux.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			if !b.Usable {
				t.Skipf("%s is not usable here: %s", b.Name, b.Why)
			}
			t.Setenv(pollux.BackendEnv, b.Name)
			if !b.Default && testkit.Long() {
				t.Setenv(testkit.LongEnv, "")
				t.Log("the short run: the long one is for the default backend")
			}
			conformance.Run(t, conformance.SocketsOn(b.Name))
		})
	}
}
