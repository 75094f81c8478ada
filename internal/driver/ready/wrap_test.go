package ready

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
)

// Fault 8: generations that wrap in the middle of everything.
func TestGenerationsWrap(t *testing.T) {
	conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
		d, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		d.streams.generation = maxGeneration - 1
		d.listeners.generation = maxGeneration - 1
		d.watches.generation = maxGeneration - 1
		d.Packets.StartAt(maxGeneration - 1)
		return d
	})
}
