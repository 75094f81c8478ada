package ready

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
)

// The driver works when generations wrap.
func TestGenerationsWrap(t *testing.T) {
	conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
		d, err := OpenDefault(c)
		if err != nil {
			t.Fatal(err)
		}
		d.streams.StartAt(driver.MaxGeneration - 1)
		d.listeners.StartAt(driver.MaxGeneration - 1)
		d.Watches.StartAt(driver.MaxGeneration - 1)
		d.Packets.StartAt(driver.MaxGeneration - 1)
		return d
	})
}
