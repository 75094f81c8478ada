package ready_test

import (
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/driver/ready"
)

// TestConformance runs the suite on every backend that is usable on this machine.
func TestConformance(t *testing.T) {
	for _, b := range pollux.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			if !b.Usable {
				t.Skipf("%s is not usable here: %s", b.Name, b.Why)
			}
			t.Setenv(pollux.BackendEnv, b.Name)
			conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
				d, err := ready.Open(c)
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}
