// Package admission decides when listeners accept.
//
// The listeners of a group compete for two resources that may be scarce: connection slots, of
// which there are MaxConns, and descriptors. A listener that gets none is paused, and waits in a
// queue. When a connection ends, the first one in the queue is resumed (a grant). It accepts one
// connection, and goes to the end of the queue if others wait. If there is nothing for it to
// accept, it passes the grant on to the next one.
//
// A grant may be lost: on a loop that is in a callback, or because the system's limit is shared
// with other processes. So each waiting listener makes a grant to the first one periodically.
//
// The package knows neither sockets nor connections: a Host does what it decides.
package admission

import "sync/atomic"

// Limits are the resources for which the listeners of a group compete. The exported fields must
// be set before the first call. The methods may be called from any goroutine.
type Limits struct {
	// MaxConns is the maximum number of connections; 0: unlimited.
	MaxConns int
	// RefuseAbove has connections above MaxConns refused. Otherwise they wait.
	RefuseAbove bool

	conns             atomic.Int64
	slotWaiters       queue // listeners that wait until there are fewer than MaxConns connections
	descriptorWaiters queue // listeners that wait for a descriptor, or for memory
}

// Conns returns the number of connections.
func (l *Limits) Conns() int { return int(l.conns.Load()) }

// Reserve counts a new connection, or returns false if there are MaxConns. The count never
// exceeds MaxConns, not even for a moment: a concurrent Release would not see that there is a
// free slot.
func (l *Limits) Reserve() bool {
	for {
		n := l.conns.Load()
		if most := l.MaxConns; most > 0 && n >= int64(most) {
			return false
		}
		if l.conns.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// hasSlot reports whether there are fewer than MaxConns connections.
func (l *Limits) hasSlot() bool {
	return l.MaxConns == 0 || l.conns.Load() < int64(l.MaxConns)
}

// Release must be called when a connection's descriptor is closed. It decrements their number
// and resumes the listeners that have waited longest.
func (l *Limits) Release() {
	l.Uncount()
	l.Grant()
}

// Uncount is the part of Release that takes no lock; Grant must follow.
func (l *Limits) Uncount() { l.conns.Add(-1) }

// Grant is the other part of Release.
func (l *Limits) Grant() {
	l.slotWaiters.grant()
	l.descriptorWaiters.grant()
}
