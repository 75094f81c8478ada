package simtest

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/loop"
)

// What is expected of an end, as far as the steps determine it. The world's mu must be held.

// resets reports whether a peer can distinguish a reset from EOF.
func (c *conn) resets() bool { return c.network == "tcp" }

// mustDeliverUnreadLocked reports whether all received bytes must still be delivered, because the end
// itself has not ended the connection.
func (e *end) mustDeliverUnreadLocked() bool {
	return len(e.inc.ended) == 0 && !e.inc.full && !e.dropped && !e.c.cutLocked()
}

// cutLocked reports whether a Shutdown may have cut off the connection.
func (c *conn) cutLocked() bool {
	for _, g := range c.w.groups {
		if g.isCut {
			return true
		}
	}
	return false
}

// readsAllLocked reports whether the end must receive everything that is due.
func (e *end) readsAllLocked() bool {
	switch {
	case e.player != nil:
		return !e.player.dead
	case e.c.isPeer(e.i) || e.inc.lc == nil && !e.moving:
		return false
	case e.c.isFannedLocked() && e.i == 0 && e.inc.closed && errors.Is(e.inc.why, loop.ErrSlow):
		return false
	}
	return e.mustDeliverUnreadLocked() || e.moving && !e.dropped
}

func (c *conn) isFannedLocked() bool { return c.kind == fanned }

// graceful reports whether why is the reason of a connection that has sent everything first.
func graceful(why error) bool {
	return slices.Contains([]error{nil, io.EOF, errData, errClosing, loop.ErrUnreadFull, loop.ErrDetached}, why)
}

// abrupt are the operations that may lose unsent bytes.
var abrupt = []op{opAbort, opAbortWith, opPanic, opIdleTimeout, opReadDeadline}

// dueLocked returns how many of the bytes that e has sent its peer must receive, if it reads them.
func (e *end) dueLocked() int {
	k := &e.inc.known
	switch {
	case e.c.disturbedLocked(), e.c.kind == relayed && e.c.relayCutLocked():
		if e.c.kind == relayed {
			return 0
		}
		return e.out.arrived
	case e.player != nil && e.player.dead:
		if e.c.kind == relayed {
			return 0
		}
		return e.out.arrived
	case e.player != nil:
		return e.out.sent
	case k.did(abrupt...), k.lost, e.dropped, k.closed && !graceful(k.why), k.did(opDetach, opMove):
		return e.out.arrived // detaching may fail
	case e.c.isFannedLocked() && e.i == 0 && (len(k.ended) > 0 || k.fin || k.full || k.closed || e.c.noReadClosed[0] && e.peer.mayEndFirstLocked()):
		return e.out.arrived
	}
	return e.out.sent
}

// relayCutLocked reports whether a peer has ended the relay other than by FIN.
func (c *conn) relayCutLocked() bool {
	for _, e := range c.ends {
		if e.player != nil && e.player.dead {
			return true
		}
	}
	return false
}

// mayEndFirstLocked reports whether e itself may have ended the connection.
func (e *end) mayEndFirstLocked() bool {
	p := e.player
	return e.inc.fin || len(e.inc.ended) > 0 || e.inc.full || e.dropped || p != nil && (p.fin || p.dead)
}

// mayEndLocked reports whether the peer may get EOF from e.
func (e *end) mayEndLocked() bool {
	return e.mayEndFirstLocked() || e.inc.closed || e.peer.mayEndFirstLocked() || e.c.disturbedLocked()
}

// mayResetLocked reports whether the peer may get a reset from e.
func (e *end) mayResetLocked() bool {
	k, p := &e.inc.known, e.player
	return p != nil && p.dead || k.closed && !graceful(k.why) || k.did(abrupt...) || e.dropped || e.c.disturbedLocked() ||
		len(k.ended) > 0 || k.full || // closing a socket with unread bytes resets it
		e.c.kind == relayed && e.c.relayCutLocked()
}

// mayBeClosedLocked reports whether something has ended e, or is about to.
func (e *end) mayBeClosedLocked() bool {
	return e.inc.closed || len(e.inc.ended) > 0 || e.inc.full || e.moving || e.dropped || e.peer.mayEndLocked() || e.peer.mayResetLocked() || e.c.disturbedLocked() || e.c.cutLocked()
}

// finishedLocked reports whether no callbacks or bytes are to come.
func (e *end) finishedLocked() bool {
	switch {
	case e.player != nil:
		return e.player.dead || e.player.noread && e.player.nowrite
	case e.c.isPeer(e.i):
		return true
	case e.moving:
		return false
	}
	return e.inc.closed || e.dropped || e.inc.lc == nil
}

// reason is an error that Closed may get, and whether it is possible in this run.
type reason struct {
	err error
	may bool
}

// reasonsLocked returns all known reasons for Closed.
func (e *end) reasonsLocked() []reason {
	b, k, c := e.peer, &e.inc.known, e.c
	reset := b.mayResetLocked()
	down := c.disturbedLocked()
	return []reason{
		{io.EOF, c.noReadClosed[e.i] && b.mayEndLocked()},
		{errClosing, k.did(opCloseWith)},
		{errAborting, k.did(opAbortWith)},
		{errData, k.did(opDataError)},
		{loop.ErrAborted, k.did(opAbort)},
		{loop.ErrTimeout, k.did(opIdleTimeout, opReadDeadline)},
		{loop.ErrWriteTimeout, false},
		{loop.ErrShutdown, c.cutLocked()},
		{loop.ErrLingerTimeout, c.w.p.setting.linger < noLinger || c.w.anyShutdownLocked()},
		{loop.ErrUnreadFull, k.full},
		{loop.ErrDetached, k.did(opDetach, opMove)},
		{loop.ErrSlow, c.kind == fanned},
		{syscall.ECONNRESET, reset},
		{syscall.EPIPE, reset},
		{syscall.ETIMEDOUT, down},
		{syscall.ENOTCONN, false},
		{syscall.EBADF, false},
		{syscall.EINVAL, false},
		{net.ErrClosed, false},
	}
}

// checkWhyLocked checks the error that Closed got.
func (e *end) checkWhyLocked() {
	k := &e.inc.known
	panicked, known := new(loop.PanicError), k.why == nil && k.did(opClose)
	if errors.As(k.why, &panicked) {
		known = k.did(opPanic)
	}
	for _, x := range e.reasonsLocked() {
		if !errors.Is(k.why, x.err) {
			continue
		}
		if known = true; !x.may {
			e.failedLocked("Closed got %v, for which there is no reason", k.why)
		}
	}
	if !known {
		e.failedLocked("Closed got %v, for which there is no reason", k.why)
	}
	if len(k.ended) != 1 || e.c.disturbedLocked() || e.peer.mayEndFirstLocked() || k.fin || k.full || e.c.kind == fanned {
		return
	}
	// A single operation has ended the connection.
	want := map[op]error{opClose: nil, opCloseWith: errClosing, opAbort: loop.ErrAborted, opAbortWith: errAborting, opDataError: errData}
	if x, is := want[k.ended[0]]; is && k.why != x {
		e.failedLocked("Closed got %v, want %v", k.why, x)
	}
}

// checkReceivedLocked checks that everything that is due has arrived.
func (e *end) checkReceivedLocked() {
	if due := e.peer.dueLocked(); e.readsAllLocked() && e.in.seen < due {
		e.failedLocked("received %d bytes, want %d", e.in.seen, due)
	}
}

// checkEndLocked checks how the end has ended.
func (e *end) checkEndLocked() {
	k := &e.inc.known
	if p := e.player; p != nil && p.conn != nil && (!p.noread || !p.nowrite) {
		e.failedLocked("a player has not ended")
	}
	if e.c.isPeer(e.i) || e.inc.lc == nil {
		return
	}
	if k.inside || k.owned != 0 || k.detachings != 0 || !k.opened || !k.closed {
		e.failedLocked("Opened, Closed, a done of WriteOwned or a Detach's function was not called")
		return
	}
	if k.why == nil && k.lost {
		e.failedLocked("done of WriteOwned got an error, but Closed got nil")
	}
	e.checkWhyLocked()
	e.checkReceivedLocked()
}
