package loop

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/overlapped"
)

// drivers are those that are no backend of a Poll, by name. They are taken only if they
// are asked for.
var drivers = map[string]func(driver.Config) (driver.Driver, error){
	overlapped.Name: func(c driver.Config) (driver.Driver, error) { return overlapped.Open(c) },
}
