package uring_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/driver/uring"
)

func TestConformance(t *testing.T) {
	if err := uring.Probe(); err != nil {
		t.Skip("uring is not usable here: ", err)
	}
	conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
		d, err := uring.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
