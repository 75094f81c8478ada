package loop

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// Listeners of a group compete for two resources that may be scarce: connection slots, of which
// there are MaxConns, and descriptors. A listener that gets none is paused, and waits in a
// queue. When a connection ends, the first one in the queue is resumed (a grant). It accepts one
// connection, and goes to the end of the queue if others wait. If there is nothing for it to
// accept, it passes the grant on to the next one.
//
// A grant may be lost: on a loop that is in a callback, or because the system's limit is shared
// with other processes. So each waiting listener makes a grant to the first one periodically.

// acceptorQueue is a queue of listeners that wait for the same resource.
type acceptorQueue struct {
	mu    sync.Mutex
	queue []*acceptor
	n     atomic.Int32 // len(queue)
	// taken counts connections accepted in a row, without a failure, while others waited.
	taken atomic.Int32
}

// resumeAllAfter: after so many without a failure, descriptors are no longer scarce.
const resumeAllAfter = 64

// passOnTurns is how many turns of its loop a listener has to accept a connection after a grant.
const passOnTurns = 2

// add puts a listener into the queue, at its front or end.
func (t *acceptorQueue) add(a *acceptor, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case slices.Contains(t.queue, a):
		return
	case first:
		t.queue = slices.Insert(t.queue, 0, a)
	default:
		t.queue = append(t.queue, a)
	}
	t.n.Store(int32(len(t.queue)))
}

func (t *acceptorQueue) remove(a *acceptor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = slices.DeleteFunc(t.queue, func(b *acceptor) bool { return a == b })
	t.n.Store(int32(len(t.queue)))
}

// hasWaiters reports whether the queue is not empty.
func (t *acceptorQueue) hasWaiters() bool { return t.n.Load() > 0 }

func (t *acceptorQueue) pop() *acceptor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return nil
	}
	a := t.queue[0]
	t.queue = slices.Delete(t.queue, 0, 1)
	t.n.Store(int32(len(t.queue)))
	return a
}

// grant removes the first listener from the queue and resumes it. It may be called from any
// goroutine.
func (t *acceptorQueue) grant() {
	if !t.hasWaiters() {
		return
	}
	for a := t.pop(); a != nil; a = t.pop() {
		if a.loop.put(op{f: func() { a.granted(t) }}) {
			return
		}
	}
}

// granted handles a grant, on the listener's loop.
func (a *acceptor) granted(t *acceptorQueue) {
	g := a.loop.g
	switch {
	case a.gone:
		a.passOn(t)
	case t == &g.slotWaiters:
		a.slotGranted()
	default:
		a.starved = false
		a.resume()
		a.passOnLater(t, passOnTurns)
	}
}

func (a *acceptor) slotGranted() {
	g := a.loop.g
	for took := false; ; took = true {
		switch {
		case took && g.slotWaiters.hasWaiters():
			a.waitForSlot(false)
			return
		case len(a.pending) == 0 && g.belowMaxConns():
			a.pending = nil
			a.full = false
			a.resume()
			a.passOnLater(&g.slotWaiters, passOnTurns)
			return
		case len(a.pending) == 0 || !g.reserveConn():
			a.waitForSlot(!took)
			return
		}
		w := a.pending[0]
		a.pending[0] = pendingConn{}
		a.pending = a.pending[1:]
		a.admit(w.c, w.peer)
	}
}

// passOnLater passes the grant on after so many turns of the loop, unless the listener is paused
// again then: it has accepted a connection, or found the resource exhausted.
func (a *acceptor) passOnLater(t *acceptorQueue, turns int) {
	if !t.hasWaiters() {
		return
	}
	a.loop.put(op{f: func() {
		waiting := a.starved
		if t == &a.loop.g.slotWaiters {
			waiting = a.full
		}
		switch {
		case turns > 1:
			a.passOnLater(t, turns-1)
		case a.gone || !waiting:
			a.passOn(t)
		}
	}})
}

// passOn grants to the next listener, if the resource may be available.
func (a *acceptor) passOn(t *acceptorQueue) {
	if g := a.loop.g; t != &g.slotWaiters || g.belowMaxConns() {
		t.grant()
	}
}

// paused reports whether the listener is paused for any reason.
func (a *acceptor) paused() bool { return a.full || a.starved || a.retrying }

// resume accepts again, unless another reason to pause remains.
func (a *acceptor) resume() {
	if !a.gone && !a.paused() {
		a.loop.drv.ResumeAccept(&a.Listener)
	}
}

// pauseFull pauses the listener until there are fewer than MaxConns connections.
func (a *acceptor) pauseFull() {
	if a.full || a.gone {
		return
	}
	a.full = true
	a.loop.drv.PauseAccept(&a.Listener)
	a.waitForSlot(false)
	a.retryAfter(maxBackoff)
}

func (a *acceptor) waitForSlot(first bool) {
	g := a.loop.g
	g.slotWaiters.add(a, first)
	if g.belowMaxConns() { // a connection may have ended in the meantime
		g.slotWaiters.grant()
	}
}

// waitForDescriptor is called when accepting has failed because the process or system is out of
// descriptors.
func (a *acceptor) waitForDescriptor() {
	t := &a.loop.g.fdWaiters
	t.taken.Store(0)
	a.starved = true
	t.add(a, true)
}

// yieldDescriptor is called after each accept. If other listeners wait for a descriptor, this one
// is paused and the first of them resumed; after resumeAllAfter accepts all of them are.
func (a *acceptor) yieldDescriptor() {
	t := &a.loop.g.fdWaiters
	if !t.hasWaiters() || a.gone {
		return
	}
	if a.full { // it is paused already
		t.grant()
		return
	}
	if t.taken.Add(1) > resumeAllAfter {
		for t.hasWaiters() {
			t.grant()
		}
		return
	}
	a.starved = true
	a.loop.drv.PauseAccept(&a.Listener)
	t.add(a, false)
	a.retryAfter(maxBackoff)
	t.grant()
}

// retryAfter resumes the listener, or the one that has waited longest, after d, unless it has
// been resumed before.
func (a *acceptor) retryAfter(d time.Duration) {
	a.retry.Fire = func(*wheel.Timer) { a.retryNow() }
	a.loop.timers.Start(&a.retry, later(a.loop.clock(), d))
}

func (a *acceptor) retryNow() {
	g := a.loop.g
	if a.retrying {
		a.retrying = false
		a.resume()
	}
	if a.starved {
		g.fdWaiters.grant()
	}
	if a.full && g.belowMaxConns() {
		g.slotWaiters.grant()
	}
	if a.starved || a.full {
		a.retryAfter(maxBackoff)
	}
}
