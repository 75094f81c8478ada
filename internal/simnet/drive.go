package simnet

import "math/rand/v2"

// What the driver of a loop needs, beside sockets and actors.

// WakeLocked is Wake for a Watcher.
func (a *Actor) WakeLocked() { a.n.wakeLocked(a) }

// NewRand returns a source of random numbers that depends on the network's seed, and on how many
// numbers the network has used before. It is for one goroutine.
func (n *Network) NewRand() *rand.Rand {
	n.mu.Lock()
	defer n.mu.Unlock()
	return rand.New(rand.NewPCG(n.rand.Uint64(), n.rand.Uint64()))
}

// Manual reports whether Advance is the only thing that moves the clock.
func (n *Network) Manual() bool { return n.config.Manual }
