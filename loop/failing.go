package loop

import (
	"fmt"

	"github.com/pollux-io/pollux/internal/stream"
)

// How a connection fails.
//
// Sending fails when the peer has reset the connection, or is gone. What was received before
// must not be lost: it is in the kernel's receive buffer, in the driver, or in c.in. So the
// connection enters phase failing first: unsent bytes are dropped, writes return the error, and
// reading continues until the end, even above the high watermark and while the handler is
// paused. A paused handler gets what has been read after Resume. When nothing is unread any
// more, or the handler has left the rest, the connection is released.
//
// A paused handler may take its time: only its own timeouts end the wait.

// ioFailed ends a connection of which sending, or everything, has failed with err. c.mu must not
// be held.
func (c *Conn) ioFailed(err error) {
	switch {
	case c.phase == failing || c.phase.gone():
		return
	case c.phase == detaching:
		c.addEndReason(err)
		c.stream.SetLinger(0)
		c.releaseKeepingUnread(c.endReason())
		return
	case c.phase != open:
		c.fail(err)
		return
	}
	c.addEndReason(err)
	c.beginFailing(c.endReason())
}

func (c *Conn) beginFailing(why error) {
	c.mu.Lock()
	c.enterLocked(failing)
	c.failWritesLocked(why)
	x := c.extras
	c.unstageLocked()
	wasAbove := c.watermark&above != 0 || c.pauses&byWatermark != 0
	c.watermark &^= above
	c.dropUnsentLocked(why)
	c.mu.Unlock()
	c.leaveFanouts()
	c.cancelContext(why)
	c.loop.callDone()
	c.pauses &^= byWatermark
	c.resumeReadDeadline()
	c.flags &^= timingSend | stalled
	c.restartIdle()
	if c.receives() {
		c.driver().Resume(&c.stream)
	}
	if wasAbove {
		c.submitNextTurn(wantDrained) // its handler may be waiting for it
		c.submitNextTurn(wantDeliver) // for what Data left because it could not write, or is about to leave
	}
	x.lastActive = c.loop.clock()
	r := c.makeRareExtras()
	r.lingerEnd, r.lastTurn = later(x.lastActive, c.loop.g.config.MaxLinger), c.loop.counts.turns
	x.linger.start(c, later(x.lastActive, c.loop.g.config.LingerTimeout), (*Conn).failingTimeout)
	c.submitNextTurn(wantEnd)
}

// dropUnsentLocked drops unsent bytes, except memory that the driver still uses: Sent is called
// for that. c.mu must be held.
func (c *Conn) dropUnsentLocked(why error) {
	if c.flags&sendPending == 0 {
		c.dropQueuedLocked(why)
	}
}

// endFailing releases a connection that is failing, once everything was received and nothing is
// unread, or the handler has left the rest.
func (c *Conn) endFailing() {
	if c.phase != failing || c.flags&readEnded == 0 {
		return
	}
	if c.in != nil && (c.pauses&byUser != 0 || c.willDeliver()) {
		return // it is called again after Resume and Data
	}
	c.release(c.endReason())
}

// noteFailing records that n bytes were received, for failingTimeout.
func (c *Conn) noteFailing(n int) {
	x := c.extras
	x.lastActive = c.loop.clock()
	x.rare.lastTurn, x.rare.received = c.loop.counts.turns, x.rare.received+int64(n)
}

// failingTimeout releases a failing connection that has not come to its end, because only
// sending failed and the peer continues to send: when nothing was received for LingerTimeout, or
// after MaxLinger. A slow loop is not mistaken for a silent peer: the kernel's buffer must have
// been read, and the driver must have had a turn. A paused handler is waited for, and a delivery
// that Resume has requested comes first.
func (c *Conn) failingTimeout() {
	x, now, timeout := c.extras, c.loop.clock(), c.loop.g.config.LingerTimeout
	r := x.rare
	unread, _ := stream.Of(&c.stream).UnreadBytes()
	switch {
	case c.phase != failing || c.flags&readEnded != 0:
		return
	case c.pauses != 0 || c.in != nil && c.willDeliver():
	case unread == 0 && c.loop.counts.turns >= r.lastTurn+2 && later(x.lastActive, timeout) <= now:
		c.release(c.endReason())
		return
	case now < r.lingerEnd:
	case r.due == 0:
		r.due = r.received + int64(unread)
	case r.received >= r.due:
		c.release(c.endReason())
		return
	}
	x.linger.start(c, later(now, timeout), (*Conn).failingTimeout)
}

// failed handles a failure of the connection while the driver was not receiving.
func (c *Conn) failed(err error) {
	if c.phase == lingering {
		c.release(c.endReason())
		return
	}
	c.ioFailed(err)
}

// receiveFailed handles an error that ended receiving.
func (c *Conn) receiveFailed(err error) {
	c.ioFailed(err)
	if c.phase == failing {
		c.submitNextTurn(wantEnd) // even if it was failing before
	}
}

// writeErrorLocked returns the error of a write that is not accepted. c.mu must be held.
func (c *Conn) writeErrorLocked() error {
	switch {
	case c.writeHalf == writeFailed:
		return fmt.Errorf("%w: %w", ErrClosed, c.extras.sendFailed)
	case c.endsLocked() || c.writeHalf != writeOpen:
		return ErrClosed
	case c.upcoming&layerRequested != 0:
		return ErrNotOpen
	}
	return ErrClosed
}
