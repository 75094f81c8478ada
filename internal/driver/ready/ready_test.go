package ready_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/driver/ready"
	"github.com/pollux-io/pollux/internal/queue"
)

// TestConformance runs the suite on every backend that is usable on this machine.
func TestConformance(t *testing.T) {
	usable := queue.Probe()
	for i, b := range queue.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			if !usable[i].Usable {
				t.Skipf("%s is not usable here: %s", b.Name, usable[i].Why)
			}
			conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
				d, err := ready.Open(b, c)
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}
