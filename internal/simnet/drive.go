package simnet

import (
	"math/rand/v2"
	"slices"
	"time"
)

// What the driver of a loop needs, beside sockets.

// A Loop is the Actor that is a loop's goroutine.
type Loop struct{ *Actor }

// NewLoop returns a Loop. Advance waits until it waits: so a loop that is only starting misses nothing.
func (n *Network) NewLoop() Loop {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.newActorLocked()
	a.running = true
	n.running++
	n.loops = append(n.loops, a)
	return Loop{a}
}

// Wait is Actor.Wait. It reports whether the network is open: Close ends all waiting.
func (l Loop) Wait(timeout time.Duration) (open bool) {
	l.n.mu.Lock()
	if l.n.closed {
		l.n.doneLocked(l.Actor)
		l.n.mu.Unlock()
		return false
	}
	l.waitAndUnlock(timeout)
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	return !l.n.closed
}

// End ends the use of the loop's goroutine.
func (l Loop) End() {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.doneLocked(l.Actor)
	l.n.loops = slices.DeleteFunc(l.n.loops, func(a *Actor) bool { return a == l.Actor })
}

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
