package loop_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
)

// What is expected of an end, as far as the steps determine it. Callers of the methods whose names
// end in Locked must hold the pair's mu.

// resets reports whether a peer can distinguish a reset from EOF. On a Unix socket, it cannot.
func (p *pair) resets() bool { return p.s.network == "tcp" && !sys.OnWine() }

// mustDeliverUnreadLocked reports whether all received bytes must still be delivered, because the
// end itself has not ended the connection.
func (a *end) mustDeliverUnreadLocked() bool { return len(a.ended) == 0 && !a.full && !a.isCutLocked() }

// isCutLocked reports whether Shutdown may have cut off the connection.
func (a *end) isCutLocked() bool {
	return a.p.r.p.shutdown.cut > 0 && a.p.r.shutdownBegun.Load() || a.p.r.stuck.Load()
}

// readsAllLocked reports whether a must receive everything that is due.
func (a *end) readsAllLocked() bool {
	if a.raw != nil {
		return !a.dead
	}
	return !a.plain && a.mustDeliverUnreadLocked()
}

// graceful reports whether why is the reason of a connection that has sent everything first.
func graceful(why error) bool {
	return slices.Contains([]error{nil, io.EOF, errData, errClosing, loop.ErrUnreadFull, loop.ErrDetached}, why)
}

// dueLocked returns how many of the bytes that a has sent its peer must receive, if it reads them.
func (a *end) dueLocked() int {
	switch {
	case a.dead:
		return a.minArrived
	case a.plain:
		return a.sent
	case a.p.r.mayLingerTimeout() || a.p.r.shutdownBegun.Load() || a.p.r.stuck.Load():
		return 0
	case a.didLocked(opAbort, opAbortWith, opPanic, opIdleTimeout, opReadDeadline), a.lost, a.closed && !graceful(a.why):
		return 0
	case a.didLocked(opDetach, opDetachStream) && a.raw == nil:
		return 0 // detaching may fail
	}
	return a.sent
}

// mayEndLocked reports whether the peer may get EOF from a.
func (a *end) mayEndLocked() bool {
	return a.fin || a.dead || len(a.ended) > 0 || a.full || a.closed || a.peer.mayEndFirstLocked() || a.p.r.shutdownBegun.Load() || a.p.r.stuck.Load()
}

// mayEndFirstLocked reports whether a itself may have ended the connection.
func (a *end) mayEndFirstLocked() bool { return a.fin || a.dead || len(a.ended) > 0 || a.full }

// mayResetLocked reports whether the peer may get a reset from a.
func (a *end) mayResetLocked() bool {
	return a.dead || a.p.r.mayLingerTimeout() || a.p.r.shutdownBegun.Load() || a.p.r.stuck.Load() || a.closed && !graceful(a.why) ||
		a.didLocked(opAbort, opAbortWith, opPanic, opIdleTimeout, opReadDeadline)
}

// mayBeClosedLocked reports whether something has ended a, or is about to.
func (a *end) mayBeClosedLocked() bool {
	return a.closed || len(a.ended) > 0 || a.full || a.peer.mayEndLocked() || a.peer.mayResetLocked()
}

// isAccepted reports whether a is an accepted connection, which begins with back-pressure on.
func (a *end) isAccepted() bool { return a.i == 0 && a.p.s.kind != dialed }

// hasQuitLocked reports whether an operation was called that certainly ends the connection: a
// timeout may not expire.
func (a *end) hasQuitLocked() bool {
	return slices.ContainsFunc(a.ended, func(o op) bool { return o != opIdleTimeout && o != opReadDeadline })
}

// receivesLocked reports whether Data must get everything that the peer sends.
func (a *end) receivesLocked() bool {
	if a.plain || !a.opened || a.closed || a.paused || !a.readsAllLocked() || a.raw != nil {
		return false
	}
	if !a.backpressure {
		return true // dialed connections read on
	}
	return a.sent-a.peer.seen <= a.low
}

// awaitReceived waits until a has received everything that was sent to it, if it receives.
func (a *end) awaitReceived() {
	a.p.wait("the bytes that the peer has sent", func() bool {
		b := a.peer
		if b.raw != nil && b.sent < b.queued && !b.dead && !b.lost && a.receivesLocked() {
			return false
		}
		return !a.receivesLocked() || a.seen >= b.dueLocked()
	})
}

// reason is an error that Closed may get, and whether it is possible in this run.
type reason struct {
	err error
	may bool
}

// reasonsLocked returns all known reasons for Closed.
func (a *end) reasonsLocked() []reason {
	b, r := a.peer, a.p.r
	reset := b.mayResetLocked()
	return []reason{
		{io.EOF, a.p.s.noReadClosed[a.i] && b.mayEndLocked() && !(b.reset && !b.fin && a.p.resets())},
		{errClosing, a.didLocked(opCloseWith)},
		{errAborting, a.didLocked(opAbortWith)},
		{errData, a.didLocked(opDataError)},
		{loop.ErrAborted, a.didLocked(opAbort) || r.stuck.Load()},
		{loop.ErrTimeout, a.didLocked(opIdleTimeout, opReadDeadline)},
		{loop.ErrWriteTimeout, false},
		{loop.ErrShutdown, a.isCutLocked()},
		{loop.ErrLingerTimeout, r.mayLingerTimeout() || r.p.shutdown.begin > 0},
		{loop.ErrUnreadFull, a.full},
		{loop.ErrDetached, a.didLocked(opDetach, opDetachStream)},
		{syscall.ECONNRESET, reset},
		{syscall.EPIPE, reset},
		{syscall.ECONNABORTED, reset && sys.OnWine()},
		{syscall.ENOTCONN, false},
		{syscall.EBADF, false},
		{syscall.EINVAL, false},
		{net.ErrClosed, false},
	}
}

// checkWhyLocked checks the error that Closed got.
func (a *end) checkWhyLocked() {
	why := a.why
	panicked, known := new(loop.PanicError), why == nil && a.didLocked(opClose)
	if errors.As(why, &panicked) {
		known = a.didLocked(opPanic)
	}
	for _, x := range a.reasonsLocked() {
		if !errors.Is(why, x.err) {
			continue
		}
		if known = true; !x.may {
			a.p.failLocked("end %d: Closed got %v, for which there is no reason", a.i, why)
		}
	}
	if !known && !(sys.OnWine() && a.peer.mayResetLocked()) {
		a.p.failLocked("end %d: Closed got %v, for which there is no reason", a.i, why)
	}
	if len(a.ended) != 1 || a.p.r.shutdownBegun.Load() || a.peer.mayEndFirstLocked() || a.fin || a.full {
		return
	}
	// A single operation has ended the connection.
	want := map[op]error{opClose: nil, opCloseWith: errClosing, opAbort: loop.ErrAborted, opAbortWith: errAborting, opDataError: errData}
	if x, is := want[a.ended[0]]; is && why != x {
		a.p.failLocked("end %d: Closed got %v, want %v", a.i, why, x)
	}
}

// checkLocked checks how a connection has ended, and how many bytes it has received.
func (a *end) checkLocked() {
	b := a.peer
	if !a.plain {
		switch {
		case !a.opened:
			if !a.p.failed && !a.p.r.shutdownBegun.Load() {
				a.p.failLocked("end %d was never opened", a.i)
			}
			return
		case !a.closed || a.owned != 0 || a.detachCalls != a.detachings:
			a.p.failLocked("end %d: Closed, a done of WriteOwned or a Detach's function was not called", a.i)
			return
		case a.why == nil && a.lost:
			a.p.failLocked("end %d: done of WriteOwned got an error, but Closed got nil", a.i)
		}
		a.checkWhyLocked()
	}
	switch {
	case a.seen > b.sent:
		a.p.failLocked("end %d received more than was sent", a.i)
	case a.readsAllLocked() && a.seen < b.dueLocked():
		a.p.failLocked("end %d received %d bytes, want %d", a.i, a.seen, b.dueLocked())
	case a.raw != nil && !a.dead && !a.eof && !b.mayResetLocked():
		a.p.failLocked("end %d did not read EOF: %v", a.i, a.readErr)
	case a.plain && a.eof && !a.lost && !b.fin && a.p.resets() && len(b.ended) == 1 && b.didLocked(opAbort, opAbortWith) && b.opened && !a.fin:
		a.p.failLocked("end %d was not reset by Abort", a.i)
	}
}

// finish closes the ends that the steps have left open, and checks that everything ends.
func (p *pair) finish() {
	p.wait("steps on other goroutines", func() bool { return p.pending == 0 })
	for _, a := range p.ends {
		a.awaitOffloaded()
	}
	p.mu.Lock()
	failed := p.failed
	p.mu.Unlock()
	for _, a := range p.ends {
		a.closeWithoutPeer()
	}
	if failed || !p.allOpened() {
		p.wait("Closed", func() bool { return !p.ends[0].isOpenLocked() && !p.ends[1].isOpenLocked() })
		return
	}
	for _, a := range p.ends {
		a.doRemaining()
		a.awaitReset()
	}
	for _, a := range p.ends {
		a.unblock()
	}
	a := p.ends[p.s.first]
	a.drain()
	if !p.s.hasty {
		a.peer.drain()
	}
	a.endAndWait(p.s.halfFirst)
	a.peer.endAndWait(false)
	a.endAndWait(false)
	for _, a := range p.ends {
		if !a.plain {
			p.wait("Closed", a.finishedLocked)
		}
	}
}

// closeWithoutPeer closes an end whose peer may never be opened, because Shutdown waits for it.
func (a *end) closeWithoutPeer() {
	alone := false
	if !a.plain && !a.peer.plain && a.awaitOpened() {
		a.peer.awaitOpened()
		a.p.locked(func() { alone = !a.closed && a.raw == nil && !a.hasQuitLocked() && a.peer.mayStayUnopenedLocked() })
	}
	if alone {
		a.do(step{op: opClose}, false)
	}
}

// isOpenLocked reports whether Closed is still to come.
func (a *end) isOpenLocked() bool { return a.opened && !a.closed }

// allOpened waits until both ends are open or finished, and reports whether both were opened.
func (p *pair) allOpened() bool {
	all := true
	for _, a := range p.ends {
		p.wait("Opened", func() bool { return a.opened || a.raw != nil || a.finishedLocked() })
		p.locked(func() { all = all && (a.opened || a.raw != nil) })
	}
	return all
}

// doRemaining does the steps for callbacks that were not called.
func (a *end) doRemaining() {
	var rest []step
	a.p.locked(func() { rest, a.todo = a.todo, nil })
	for _, s := range rest {
		if s.op != opPanic && s.op != opDataError {
			a.do(s, false)
		}
	}
}

// awaitReset waits until a reset of the peer is reported, unless a Pause leaves bytes unread.
func (a *end) awaitReset() {
	b := a.peer
	if a.plain || !a.p.resets() {
		return
	}
	a.p.wait("the peer's writer", func() bool { return b.raw == nil || !b.dead || b.nowrite })
	a.p.wait("the report of a reset", func() bool {
		// After both ends' FIN the peer's socket may be gone, and sends no reset.
		due := b.reset && !(a.fin && a.eof) && a.readsAllLocked() && a.raw == nil && (!a.paused || a.left == 0 && a.seen == b.sent)
		return !due || a.closed
	})
}

// unblock removes pauses and read limits.
func (a *end) unblock() {
	if a.plain {
		a.p.locked(func() { a.budget = unlimited })
		return
	}
	over := false
	a.p.locked(func() { over = a.hasQuitLocked() || a.closed })
	if over {
		return
	}
	all := func() {
		for _, s := range []step{{op: opConsume}, {op: opEcho}, {op: opPause}, {op: opResume}} {
			a.do(s, false)
		}
		if a.peer.did(opDetach, opDetachStream) {
			a.do(step{op: opBackpressure}, false)
		}
	}
	// Run on the loop, it follows a callback that pauses.
	a.onLoop(all)
	a.p.wait("a function of Run", func() bool { return a.p.pending == 0 })
}

// drain waits until a has received everything that is due, and Drained if that is due.
func (a *end) drain() {
	b := a.peer
	a.p.wait("the bytes that are due", func() bool {
		if b.raw != nil && !b.nowrite && b.sent < b.queued {
			return false
		}
		return a.finishedLocked() || a.plain && a.noread || !a.readsAllLocked() || a.seen >= b.dueLocked()
	})
	a.p.wait("Drained", func() bool {
		return a.plain || a.finishedLocked() || !a.mustDeliverUnreadLocked() || b.mayResetLocked() || !b.readsAllLocked() || !a.drainDue
	})
}

// endAndWait closes a unless it has ended, or half-closes it, and waits until the peer gets EOF.
func (a *end) endAndWait(half bool) {
	if a.plainConn() != nil {
		a.doPlain(step{op: opFIN})
		a.p.wait("FIN", func() bool { return a.nowrite })
		if !a.plain {
			return
		}
	} else {
		over := false
		a.p.locked(func() { over = a.closed || a.hasQuitLocked() || half && a.fin })
		if !over && half {
			a.do(step{op: opCloseWrite}, false)
		} else if !over {
			a.do(step{op: opClose}, false)
		}
	}
	b := a.peer
	a.p.wait("EOF at the peer", func() bool {
		return b.finishedLocked() || b.eof || b.noread || !b.readsAllLocked() || a.mayResetLocked() || a.closed
	})
}

// end closes plain connections, and checks both ends.
func (p *pair) end() {
	for _, a := range p.ends {
		var open bool
		p.locked(func() { open = a.raw != nil && !a.dead })
		if open {
			a.readToEnd()
		}
	}
	p.players.Wait()
	for _, a := range p.ends {
		if c := a.plainConn(); c != nil {
			c.Close()
		}
	}
	p.locked(func() {
		for _, a := range p.ends {
			if !p.r.stuck.Load() {
				a.checkLocked()
			}
		}
	})
}

// readToEnd waits until a plain end has written what is queued and read everything.
func (a *end) readToEnd() {
	a.p.locked(func() { a.fin, a.budget = true, unlimited })
	a.p.wait("a plain end's reader and writer", func() bool { return a.noread && a.nowrite })
}
