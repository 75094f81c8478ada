package loop

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// Listeners of a group compete for two things that may be scarce: places, of which there are
// MaxConns, and descriptors. A listener that finds none is paused, and waits in a queue. When
// a connection ends, the first one in the queue goes on. It takes one connection, and goes
// to the queue's end if others wait. If it has none to take, the next one goes on soon.
//
// A grant may be lost: to a loop that is in a callback, or because the system's limit is
// shared with others. So each listener that waits has the first one go on now and then.

// turns is a queue of listeners that wait for the same thing.
type acceptorQueue struct {
	mu    sync.Mutex
	queue []*acceptor
	n     atomic.Int32 // len(queue)
	// taken is how many were taken one after another, without a failure, while others waited.
	taken atomic.Int32
}

// resumeAllAfter: after so many without a failure, what was scarce is so no more.
const resumeAllAfter = 64

// passOnTurns is how many turns of its loop a listener has to take a connection.
const passOnTurns = 2

// join puts a listener into the queue, at its end or first.
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

// hasWaiters reports whether the queue has any.
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

// grant takes the first listener out of the queue and has it go on. It may be called from
// any goroutine.
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

// granted goes on after a grant.
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

// passOnLater has the next listener go on, unless this one is paused again after so many
// turns of its loop: then it has taken something, or found nothing.
func (a *acceptor) passOnLater(t *acceptorQueue, turns int) {
	if !t.hasWaiters() {
		return
	}
	a.loop.put(op{f: func() {
		waits := a.starved
		if t == &a.loop.g.slotWaiters {
			waits = a.full
		}
		switch {
		case turns > 1:
			a.passOnLater(t, turns-1)
		case a.gone || !waits:
			a.passOn(t)
		}
	}})
}

// passOn has the next one go on, if there may be something for it.
func (a *acceptor) passOn(t *acceptorQueue) {
	if g := a.loop.g; t != &g.slotWaiters || g.belowMaxConns() {
		t.grant()
	}
}

// paused reports whether the listener waits for anything.
func (a *acceptor) paused() bool { return a.full || a.starved || a.retrying }

// resume accepts again, unless there is something else to wait for.
func (a *acceptor) resume() {
	if !a.gone && !a.paused() {
		a.loop.drv.ResumeAccept(&a.Listener)
	}
}

// pauseFull waits for a place.
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
	if g.belowMaxConns() { // some may have gone meanwhile
		g.slotWaiters.grant()
	}
}

// waitForDescriptor is called when accepting has failed for want of one.
func (a *acceptor) waitForDescriptor() {
	t := &a.loop.g.fdWaiters
	t.taken.Store(0)
	a.starved = true
	t.add(a, true)
}

// yieldDescriptor leaves the next descriptor to those that wait for one.
func (a *acceptor) yieldDescriptor() {
	t := &a.loop.g.fdWaiters
	if !t.hasWaiters() || a.gone {
		return
	}
	if a.full { // so it takes none
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

// retryAfter has the listener, or the one that waits longest, go on if nothing else has come
// of it until then.
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
