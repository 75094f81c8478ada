package loop

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/overlapped"
)

var natives = []*native{
	newNative(overlapped.Name, overlapped.Probe, overlapped.Note, func(c driver.Config) (driver.Driver, error) { return overlapped.Open(c) }),
}
