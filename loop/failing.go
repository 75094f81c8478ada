package loop

import (
	"errors"
	"fmt"
	"io"
)

// How a connection fails.
//
// Sending fails when the peer has reset the connection, or is gone. What was received before
// is not lost with it: it is in the kernel's receive buffer, with the driver, or in c.in. So
// the connection is failing first: what was to be sent is dropped, writes return the error,
// and reading goes on until the end, past the high watermark and while the handler is paused.
// A paused handler gets what has been read after Resume. When nothing is unread any more, or
// the handler has left the rest, the connection is released.
//
// A handler that is paused gets its time: only its own timeouts end the wait.

// ioFailed ends a connection whose sending, or the whole of it, has failed with err. It must
// not be called with mu held.
func (c *Conn) ioFailed(err error) {
	switch {
	case c.phase == failing || c.phase == gone:
		return
	case c.phase == open && c.flags&detaching != 0:
		c.addEndReason(err)
		c.stream.SetLinger(0)
		c.teardownKeepingUnread(c.endReason(), c.loop.drv.Release)
		return
	case c.phase != open:
		c.fail(err)
		return
	}
	c.addEndReason(err)
	c.beginFailing(c.endReason())
}

func (c *Conn) beginFailing(why error) {
	c.phase = failing
	c.mu.Lock()
	x := c.makeExtrasLocked()
	c.writeShut, x.sendFailed = true, why
	c.unstageLocked()
	crossed := c.crossed || c.pauses&byWatermark != 0
	c.crossed = false
	c.dropUnsentLocked(why)
	c.mu.Unlock()
	c.cancelContext(why)
	c.loop.callDone()
	c.pauses &^= byWatermark
	c.resumeReadDeadline()
	c.flags &^= timingSend | stalled
	c.restartIdle()
	if c.receives() {
		c.loop.drv.Resume(&c.stream)
	}
	if crossed {
		c.submitNextTurn(wantDrained) // its handler may wait for it, to go on
		c.submitNextTurn(wantDeliver) // what Data left because it could not answer, or is about to leave
	}
	x.lastActive = c.loop.clock()
	r := c.makeRareExtras()
	r.lingerEnd, r.lastTurn = later(x.lastActive, c.loop.g.config.MaxLinger), c.loop.counts.turns
	x.linger.start(c, later(x.lastActive, c.loop.g.config.LingerTimeout), (*Conn).failingTimeout)
	c.submitNextTurn(wantEnd)
}

// dropUnsentLocked drops what is to be sent, but for memory that the driver has: Sent comes for
// that. mu must be held.
func (c *Conn) dropUnsentLocked(why error) {
	if c.out != nil && c.flags&sendPending == 0 {
		c.consumeLocked(c.out.bytes, why)
	}
}

// endFailing releases a connection that has failed, once nothing is unread or the handler
// has left what is.
func (c *Conn) endFailing() {
	if c.phase != failing || c.flags&readEnded == 0 || c.willDeliver() {
		return
	}
	if c.in != nil && c.pauses&byUser != 0 {
		return // Resume comes
	}
	c.release(c.endReason())
}

// noteFailing notes that n bytes have come, for failingTimeout.
func (c *Conn) noteFailing(n int) {
	x := c.extras
	x.lastActive = c.loop.clock()
	x.rare.lastTurn, x.rare.received = c.loop.counts.turns, x.rare.received+int64(n)
}

// failingTimeout gives up a connection that has not come to its end, for the failure was not
// one of the whole connection, and the peer goes on: when nothing has come for LingerTimeout,
// or after MaxLinger. Neither time counts against a loop that is slow: what the kernel holds is
// read, and the driver has had its turn. A handler that has paused is waited for.
func (c *Conn) failingTimeout() {
	x, now, patience := c.extras, c.loop.clock(), c.loop.g.config.LingerTimeout
	r := x.rare
	unread, _ := c.stream.Unread()
	switch {
	case c.phase != failing || c.flags&readEnded != 0:
		return
	case c.pauses != 0:
	case unread == 0 && c.loop.counts.turns >= r.lastTurn+2 && later(x.lastActive, patience) <= now:
		c.release(c.endReason())
		return
	case now < r.lingerEnd:
	case r.due == 0:
		r.due = r.received + int64(unread)
	case r.received >= r.due:
		c.release(c.endReason())
		return
	}
	x.linger.start(c, later(now, patience), (*Conn).failingTimeout)
}

// delivers reports whether Data may be called.
func (c *Conn) delivers() bool { return c.phase == open || c.phase == failing }

// receives reports whether the driver is to receive. A connection that has failed is read to
// its end, as far as memory allows, to find out whether anything is unread.
func (c *Conn) receives() bool {
	if c.phase == failing {
		return c.pauses&byUnread == 0
	}
	return c.pauses == 0 && c.phase != gone
}

// Failed implements driver.StreamUpcalls: the connection has failed, while nothing is
// received.
func (u *upcalls) Failed(err error) {
	c := (*Conn)(u)
	c.loop.wakeUp()
	if c.phase == lingering {
		c.release(c.endReason())
		return
	}
	c.ioFailed(err)
}

// receiveFailed takes an error that receiving has ended with.
func (c *Conn) receiveFailed(err error) {
	c.ioFailed(err)
	if c.phase == failing {
		c.submitNextTurn(wantEnd) // it may have been failing before
	}
}

// refused returns the error of a write after CloseWrite, Close or a failure. mu must be held.
func (c *Conn) writeErrorLocked() error {
	if x := c.extras; x != nil && x.sendFailed != nil {
		return fmt.Errorf("%w: %w", ErrClosed, x.sendFailed)
	}
	return ErrClosed
}

// combineReasons returns the reason of a connection that ends for why, and then meets err.
func (c *Conn) combineReasons(why, err error) error {
	switch {
	case c.phase == failing && !errors.Is(err, ErrClosed): // else it follows from why
		return fmt.Errorf("%w; then %w", why, err)
	case c.Unsent() == 0:
		return why
	case errors.Is(why, io.EOF): // which is no reason for what the peer did not get
		return err
	}
	return fmt.Errorf("%w; then %w", why, err)
}
