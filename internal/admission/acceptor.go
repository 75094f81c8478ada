package admission

import "time"

const (
	// minBackoff is how long accepting pauses after an error, and maxBackoff after several in a
	// row.
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	// grantInterval is the period of the grants that a waiting listener makes.
	grantInterval = time.Second
	// passOnTurns is how many turns of its loop a listener has to accept a connection after a
	// grant.
	passOnTurns = 2
	// resumeAllAfter: after so many connections without a failure, descriptors are no longer
	// scarce.
	resumeAllAfter = 64
)

// A Host is a listening socket and the loop that it belongs to. Its methods are called on the
// loop, except Put.
type Host interface {
	// PauseAccept stops accepting. A few connections may still be accepted.
	PauseAccept()
	ResumeAccept()
	// RetryAfter has the loop call Acceptor.Retry after d, once. It replaces an earlier request.
	RetryAfter(d time.Duration)
	// Pending returns how many accepted connections wait (see Wait).
	Pending() int
	// AdmitPending admits the first of them. A slot is reserved for it.
	AdmitPending()
	// Put has the loop call f in its next turn. It returns false if the loop has ended. It may be
	// called from any goroutine.
	Put(f func()) bool
}

// A Verdict is what becomes of a connection that has been accepted.
type Verdict uint8

const (
	// Admit: it becomes a connection of the group. A slot is reserved for it.
	Admit Verdict = iota
	// Wait: there are MaxConns connections. It waits, as those in the backlog do: it was accepted
	// before the driver could be paused.
	Wait
	// Refuse: there are MaxConns connections, and it must be closed.
	Refuse
)

// An Acceptor decides when one listening socket accepts. It must be used on the socket's loop
// only.
type Acceptor struct {
	limits   *Limits
	host     Host
	backoff  time.Duration
	full     bool // waits until there are fewer than MaxConns connections
	starved  bool // waits for a descriptor
	retrying bool // waits for Retry, after another error
	stopped  bool // by SetPaused
	closed   bool
}

// NewAcceptor returns the Acceptor of a socket that accepts.
func NewAcceptor(limits *Limits, host Host) *Acceptor { return &Acceptor{limits: limits, host: host} }

// Accept must be called for each connection that has been accepted, and returns what becomes of
// it. Accepted must follow when that is done.
func (a *Acceptor) Accept() Verdict {
	a.backoff = 0
	switch {
	case a.limits.Reserve():
		return Admit
	case a.limits.RefuseAbove:
		return Refuse
	}
	return Wait
}

// Accepted pauses the socket if there are MaxConns connections, or another one has waited for a
// descriptor for longer.
func (a *Acceptor) Accepted(v Verdict) {
	if v == Wait || v == Admit && !a.limits.RefuseAbove && !a.limits.hasSlot() {
		a.pauseFull()
	}
	a.yieldDescriptor()
}

// Failed must be called when accepting has failed and the driver has therefore paused the socket;
// noResource reports that the process or the system is out of descriptors or memory. While the
// socket is paused, connections stay in the backlog, which costs nothing. It retries with
// back-off, and if a resource was exhausted, when a connection of the group has ended.
func (a *Acceptor) Failed(noResource bool) {
	if noResource {
		a.waitForDescriptor()
	} else {
		a.retrying = true
	}
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	a.host.RetryAfter(a.backoff)
}

// Retry must be called when the time of Host.RetryAfter has passed.
func (a *Acceptor) Retry() {
	if a.retrying {
		a.retrying = false
		a.resume()
	}
	if a.starved {
		a.limits.descriptorWaiters.grant()
	}
	if a.full && a.limits.hasSlot() {
		a.limits.slotWaiters.grant()
	}
	if a.starved || a.full {
		a.host.RetryAfter(grantInterval)
	}
}

// Close must be called before the socket is closed, and only Closed and Close after it: the
// Acceptor leaves the queues, and does not call its host any more, except Put to pass on a grant.
// It returns false if it was closed before.
func (a *Acceptor) Close() bool {
	if a.closed {
		return false
	}
	a.closed = true
	a.limits.slotWaiters.remove(a)
	a.limits.descriptorWaiters.remove(a)
	return true
}

// Closed reports whether Close was called.
func (a *Acceptor) Closed() bool { return a.closed }

// SetPaused pauses the socket, or ends that pause. Other reasons to pause are independent of it.
func (a *Acceptor) SetPaused(on bool) {
	if a.closed || on == a.stopped {
		return
	}
	if a.stopped = on; on {
		a.host.PauseAccept()
		return
	}
	a.resume()
}

// paused reports whether the socket is paused for any reason.
func (a *Acceptor) paused() bool { return a.full || a.starved || a.retrying || a.stopped }

// resume accepts again, unless another reason to pause remains.
func (a *Acceptor) resume() {
	if !a.closed && !a.paused() {
		a.host.ResumeAccept()
	}
}

// pauseFull pauses the socket until there are fewer than MaxConns connections.
func (a *Acceptor) pauseFull() {
	if a.full || a.closed {
		return
	}
	a.full = true
	a.host.PauseAccept()
	a.waitForSlot(false)
	a.host.RetryAfter(grantInterval)
}

func (a *Acceptor) waitForSlot(first bool) {
	q := &a.limits.slotWaiters
	q.add(a, first)
	if a.limits.hasSlot() { // a connection may have ended in the meantime
		q.grant()
	}
}

// waitForDescriptor puts the socket, which has failed to get a descriptor, back to the front.
func (a *Acceptor) waitForDescriptor() {
	q := &a.limits.descriptorWaiters
	q.taken.Store(0)
	a.starved = true
	q.add(a, true)
}

// yieldDescriptor is called after each accept. If other sockets wait for a descriptor, this one is
// paused and the first of them resumed; after resumeAllAfter accepts all of them are.
func (a *Acceptor) yieldDescriptor() {
	q := &a.limits.descriptorWaiters
	if !q.hasWaiters() || a.closed {
		return
	}
	if a.full { // it is paused already
		q.grant()
		return
	}
	if q.taken.Add(1) > resumeAllAfter {
		for q.hasWaiters() {
			q.grant()
		}
		return
	}
	a.starved = true
	a.host.PauseAccept()
	q.add(a, false)
	a.host.RetryAfter(grantInterval)
	q.grant()
}

// granted handles a grant, on the loop.
func (a *Acceptor) granted(q *queue) {
	switch {
	case a.closed:
		a.passOn(q)
	case q == &a.limits.slotWaiters:
		a.slotGranted()
	default:
		a.starved = false
		a.resume()
		a.passOnLater(q, passOnTurns)
	}
}

// slotGranted admits one pending connection, or more if no other socket waits. If none is left
// and there is a free slot, the socket accepts again.
func (a *Acceptor) slotGranted() {
	q := &a.limits.slotWaiters
	for took := false; ; took = true {
		pending := a.host.Pending()
		switch {
		case took && q.hasWaiters():
			a.waitForSlot(false)
			return
		case pending == 0 && a.limits.hasSlot():
			a.full = false
			a.resume()
			a.passOnLater(q, passOnTurns)
			return
		case pending == 0 || !a.limits.Reserve():
			a.waitForSlot(!took)
			return
		}
		a.host.AdmitPending()
	}
}

// passOnLater passes the grant on after so many turns of the loop, unless the socket is paused
// again then: it has accepted a connection, or found the resource exhausted.
func (a *Acceptor) passOnLater(q *queue, turns int) {
	if !q.hasWaiters() {
		return
	}
	a.host.Put(func() {
		waiting := a.starved
		if q == &a.limits.slotWaiters {
			waiting = a.full
		}
		switch {
		case turns > 1:
			a.passOnLater(q, turns-1)
		case a.closed || !waiting:
			a.passOn(q)
		}
	})
}

// passOn grants to the next socket, if the resource may be available.
func (a *Acceptor) passOn(q *queue) {
	if q != &a.limits.slotWaiters || a.limits.hasSlot() {
		q.grant()
	}
}
