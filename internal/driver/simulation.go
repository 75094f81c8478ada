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
	// NewActor returns an actor for a goroutine of a group that is not that of a loop.
	NewActor() Actor
}

// An Actor is a goroutine whose steps have their place in the order that the network's seed
// determines. In a bubble of testing/synctest it runs alone between Wait and Done.
type Actor interface {
	// Wait waits until it is the actor's turn, after the timeout. It reports whether the network is
	// open, and does not wait otherwise.
	Wait(timeout time.Duration) (open bool)
	// Done must be called unless Wait is called again.
	Done()
}

// A Stepper is a driver whose Turn calls f between collecting and delivering, when in a bubble no
// other goroutine runs: the loop does there what others have requested. Anywhere else it would
// depend on chance which requests it finds.
type Stepper interface{ BeforeDelivery(f func()) }

// A Clock is a clock that a test advances.
type Clock interface {
	Now() time.Time
}
