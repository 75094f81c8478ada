package loop

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/uring"
)

var natives = []*native{
	newNative(uring.Name, uring.Probe, uring.Note, func(c driver.Config) (driver.Driver, error) { return uring.Open(c) }),
}
