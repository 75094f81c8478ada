package simnet

import (
	"math/rand/v2"
	"slices"
)

// What the driver of a loop needs, beside sockets.

// A Loop is the Actor that is a loop's goroutine.
type Loop struct {
	*Actor
	host *Host
}

// NewLoop returns a Loop on the host. Advance waits until it waits: so a loop that is only starting
// misses nothing. Close ends all its waiting.
func (h *Host) NewLoop() Loop {
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	a := h.newActorLocked()
	a.running = true
	n.running++
	n.loops = append(n.loops, a)
	h.loops++
	return Loop{a, h}
}

// End ends the use of the loop's goroutine.
func (l Loop) End() {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.doneLocked(l.Actor)
	l.n.loops = slices.DeleteFunc(l.n.loops, func(a *Actor) bool { return a == l.Actor })
	l.host.loops--
}

// Loops returns how many loops on the host have not ended.
func (h *Host) Loops() int {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.loops
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
