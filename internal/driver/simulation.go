package driver

import (
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// A Simulation is a simulated host that loops can run on: package loop gets it as a sock.Network,
// and uses no other driver for a group that has one. Its methods may be called from any goroutine.
type Simulation interface {
	sys.Kernel
	// OpenDriver returns a driver for the sockets of this host.
	OpenDriver(c Config) (Driver, error)
	// Owns reports whether a socket is one of this host.
	Owns(s sys.VirtualSocket) bool
	// Clock returns the clock of the network, or nil if that is package time's: the machine's, or
	// that of a bubble of testing/synctest. The result never changes.
	Clock() Clock
}

// A Clock is a clock that a test advances.
type Clock interface {
	Now() time.Time
}
