package loop

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// How a connection ends.
//
// Close and the peer's end lead to closing: what is left is sent. When that is done,
// FIN goes out, and the connection lingers until the peer's FIN: to close a socket
// that has unread bytes resets it (RFC 2525, 2.17), and the reset can overtake what
// the peer has not read yet. So meanwhile what comes is received and dropped.
//
// The peer has LingerTimeout to take some more of what is left, again and again up to
// MaxLinger, and then LingerTimeout to end its side. Failures, aborts and timeouts go straight to release, which resets a
// connection that has something left to be sent.

// fail ends the connection at once, because of err.
func (c *Conn) fail(err error) {
	c.addEndReason(err)
	c.release(c.endReason())
}

// addEndReason makes err the reason for the end, or a second one for what the peer did not get:
// what came first stays the first.
func (c *Conn) addEndReason(err error) {
	if c.phase == gone {
		return
	}
	if why := c.endReason(); why != nil {
		err = c.combineReasons(why, err)
	}
	c.setEndReason(err)
}

// abort resets the connection, for the reason that AbortWith was given.
func (c *Conn) abort() {
	c.stream.SetLinger(0)
	c.mu.Lock()
	var why, first error
	if x := c.extras; x != nil {
		if first = x.endReason; x.rare != nil {
			why = x.rare.abortReason
		}
	}
	c.mu.Unlock()
	switch {
	case why == nil:
		c.fail(ErrAborted)
	case first == nil || errors.Is(first, io.EOF):
		c.release(why)
	default:
		c.release(fmt.Errorf("%w; then %w", first, why))
	}
}

// closeWithReason begins to close for the reason that CloseWith was given, or none.
func (c *Conn) closeWithReason() {
	c.mu.Lock()
	var why error
	if x := c.extras; x != nil && x.rare != nil {
		why = x.rare.closeReason
	}
	c.mu.Unlock()
	if c.phase == failing && why != nil {
		c.addEndReason(why)
	}
	c.beginClose(why)
}

// beginClose begins to close in good order.
func (c *Conn) beginClose(why error) {
	if c.phase >= closing {
		return
	}
	switch c.phase {
	case connecting:
		c.release(errors.Join(why, ErrClosed))
		return
	case failing:
		c.release(c.endReason())
		return
	}
	c.phase = closing
	c.mu.Lock()
	c.shut = ending
	unsent := c.unsentLocked()
	x := c.makeExtrasLocked()
	x.endReason = why
	c.mu.Unlock()
	c.dropUnread()
	c.stopDeadlines()
	if unsent == 0 && c.flags&readEnded != 0 {
		c.release(why)
		return
	}
	x.lastActive = c.loop.clock()
	if unsent > 0 {
		c.makeRareExtras().lingerEnd = later(x.lastActive, c.loop.g.config.MaxLinger)
		c.peerProgressed() // for the next look
	}
	c.linger()
	c.pauses = 0
	c.loop.drv.Resume(&c.stream) // for the peer's end
	if unsent == 0 {
		c.allSent(false)
	}
}

// allSent does what waits for everything to be sent; fin says that CloseWrite has been
// called.
func (c *Conn) allSent(fin bool) {
	switch {
	case c.phase == closing && c.flags&readEnded != 0:
		c.release(c.endReason())
	case c.phase == closing:
		c.phase = lingering
		c.linger()
		c.sendFIN()
	case c.phase == open && fin:
		c.sendFIN()
	}
	c.detachIfSent()
}

// finish sends FIN if nothing is left to be sent before it.
func (c *Conn) sendFINIfDrained() {
	if c.phase == open && c.Unsent() == 0 {
		c.sendFIN()
	}
}

func (c *Conn) sendFIN() {
	if c.flags&finSent != 0 {
		return
	}
	c.flags |= finSent
	err := c.stream.CloseWrite()
	if errors.Is(err, syscall.ENOTCONN) { // it was reset, and nobody is connected any more
		if c.phase == lingering && c.flags&readEnded == 0 {
			return // the end of receiving is still to come
		}
		err = c.failure("close write", syscall.ECONNRESET)
	}
	if err != nil {
		c.ioFailed(err)
	}
}

// shutdownLinger is how long a peer that has been sent everything, and FIN, has to end its
// side when the group shuts down: one that is idle may never do it.
const shutdownLinger = time.Second

// linger gives the peer LingerTimeout from now.
func (c *Conn) linger() {
	l := c.loop
	d := l.g.config.LingerTimeout
	if l.ending && c.phase == lingering {
		d = min(d, shutdownLinger)
	}
	end := later(l.clock(), d)
	if c.phase == closing {
		if r := c.loadRareExtras(); r != nil && r.lingerEnd != 0 {
			end = min(end, r.lingerEnd)
		}
	}
	c.extras.linger.start(c, end, (*Conn).lingerTimeout)
}

func (c *Conn) lingerTimeout() {
	switch {
	case c.phase == lingering:
		c.release(c.endReason())
	case !c.extendLinger():
		c.fail(ErrLingerTimeout)
	}
}

// extendLinger gives the peer LingerTimeout once more if it has taken something meanwhile. It
// may have taken bytes that the system held, and still hold the connection up: systems tell
// of room late, such as when a third of megabytes is free. They also acknowledge late, so it
// is looked at after all of that time, and not sooner.
func (c *Conn) extendLinger() bool {
	x, now := c.extras, c.loop.clock()
	takes := c.peerProgressed()
	if now >= x.rare.lingerEnd || !takes && later(x.lastActive, c.loop.g.config.LingerTimeout) <= now {
		return false
	}
	c.linger()
	return true
}

// release gives the connection up. Closed is told when the driver is done with it.
func (c *Conn) release(why error) {
	if c.phase == gone {
		return
	}
	if c.phase == failing || c.phase != connecting && c.Unsent() > 0 {
		c.stream.SetLinger(0) // a FIN would say that the peer has everything
	}
	c.teardown(why)
	c.loop.drv.Release(&c.stream)
}

// leave is release without the descriptor.
func (c *Conn) teardown(why error) {
	c.phase = gone
	c.setEndReason(why)
	c.mu.Lock()
	c.shut = released
	c.mu.Unlock()
	c.cancelContext(why)
	x := c.loadExtras()
	if x != nil {
		c.replaceHandler() // the one that was set last gets Closed
	}
	if c.optional&hasClosed != 0 { // it may want to know
		if addr := c.RemoteAddr(); addr != nil {
			c.mu.Lock()
			c.makeExtrasLocked().remote = addr
			c.mu.Unlock()
		}
	}
	c.dropUnread()
	c.stopDeadlines()
	if x != nil {
		x.linger.stop(c.loop)
	}
}

// Released implements driver.StreamUpcalls: the last that is heard of a stream.
func (u *upcalls) Released() {
	c := (*Conn)(u)
	l := c.loop
	l.wakeUp()
	notSent := c.endReason()
	if notSent == nil || errors.Is(notSent, io.EOF) {
		notSent = ErrClosed
	}
	c.mu.Lock()
	c.unstageLocked()
	if c.out != nil {
		c.consumeLocked(c.out.bytes, notSent)
	}
	c.mu.Unlock()
	l.removeConn(c)
	// Each is called also if the one before has ended the goroutine: nothing else would.
	defer c.callClosed()
	defer c.callDetached()
	defer c.callDialed(notSent)
	l.callDone()
}

func (c *Conn) callClosed() {
	if c.handler != nil && c.optional&hasClosed != 0 {
		c.callbackErr(func() { c.handler.(ClosedHandler).Closed(c, c.endReason()) })
	}
}
