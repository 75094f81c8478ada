//go:build windows

package overlapped_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/driver/overlapped"
)

func TestConformance(t *testing.T) {
	if err := overlapped.Probe(); err != nil {
		t.Skip("overlapped is not usable here: ", err)
	}
	conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
		d, err := overlapped.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
