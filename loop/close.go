package loop

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// How a connection ends.
//
// Close, and the peer closing, lead to closing: unsent bytes are sent. Then FIN is sent, and the
// connection lingers until the peer's FIN: closing a socket that has unread bytes resets it (RFC
// 2525, 2.17), and the reset can overtake what the peer has not read yet. So until then,
// received bytes are dropped.
//
// The peer has LingerTimeout to take some of the unsent bytes, again and again up to MaxLinger,
// and then LingerTimeout to close its side; while the kernel holds bytes for it, it has as long to
// take those (extendLinger). Failures, aborts and timeouts go straight to release, which resets a
// connection that has unsent bytes.

// fail ends the connection immediately, with err as the reason.
func (c *Conn) fail(err error) {
	c.addEndReason(err)
	c.release(c.endReason())
}

// addEndReason records err as the reason of the end. If there is a reason already, that stays
// the first, and err is added if it explains what the peer did not get.
func (c *Conn) addEndReason(err error) {
	if c.phase.gone() {
		return
	}
	if why := c.endReason(); why != nil {
		err = c.combineReasons(why, err)
	}
	c.setEndReason(err)
}

// combineReasons returns the reason of a connection that was ending because of why when err
// occurred.
func (c *Conn) combineReasons(why, err error) error {
	switch {
	case c.phase == failing && !errors.Is(err, ErrClosed): // otherwise err is a consequence of why
		return fmt.Errorf("%w; then %w", why, err)
	case c.Unsent() == 0:
		return why
	case errors.Is(why, io.EOF): // which does not explain why the peer did not get everything
		return err
	}
	return fmt.Errorf("%w; then %w", why, err)
}

// endReason returns the reason why the connection ends.
func (c *Conn) endReason() error {
	c.mu.Lock() // other goroutines may create extras
	defer c.mu.Unlock()
	if c.extras == nil {
		return nil
	}
	return c.extras.endReason
}

func (c *Conn) setEndReason(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setEndReasonLocked(why)
}

func (c *Conn) setEndReasonLocked(why error) {
	if why != nil || c.extras != nil {
		c.makeExtrasLocked().endReason = why
	}
}

// abort resets the connection, with the reason given to AbortWith.
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

// closeWithReason begins to close with the reason given to CloseWith, if any.
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

// beginClose begins a graceful close.
func (c *Conn) beginClose(why error) {
	if c.phase >= closing {
		return
	}
	switch c.phase {
	case connecting:
		c.release(errors.Join(why, ErrClosed))
		return
	case starting:
		if c.flags&hasLayer != 0 {
			c.release(why)
			return
		}
	case failing:
		c.release(c.endReason())
		return
	}
	c.mu.Lock()
	c.enterLocked(closing)
	unsent := c.unsentLocked()
	x := c.makeExtrasLocked()
	x.endReason = why
	c.mu.Unlock()
	c.leaveFanouts()
	c.dropUnread()
	c.stopDeadlines()
	resets := c.endsInReset()
	if unsent == 0 && c.endsWithSocket() && !resets {
		c.release(why)
		return
	}
	x.lastActive = c.loop.clock()
	if unsent > 0 || resets {
		r := c.makeRareExtras()
		r.lingerEnd, r.interval = later(x.lastActive, c.loop.g.config.MaxLinger), 0
		c.peerProgressed() // take the first sample
	}
	c.linger()
	c.pauses = 0
	c.driver().Resume(&c.stream) // to receive the peer's FIN
	if unsent == 0 {
		c.allSent(false)
	}
}

// allSent runs when nothing is unsent; fin reports whether CloseWrite has been called.
func (c *Conn) allSent(fin bool) {
	switch {
	case c.phase == closing && c.endsInReset():
		c.resetWhenTaken()
	case c.phase == closing && c.endsWithSocket():
		c.release(c.endReason())
	case c.phase == closing && c.flags&readEnded != 0:
		c.endLayer()
	case c.phase == closing:
		c.enter(lingering)
		c.linger()
		c.sendFIN()
	case c.phase == starting: // CloseWrite ends the stream above the layer
		c.startLayerSoon()
	case c.phase.intact() && fin:
		c.sendFIN()
	}
	c.detachIfSent()
}

// endsWithSocket reports whether closing the socket ends both directions: the peer has ended its side, and there is no layer,
// whose end is sent before (endLayer).
func (c *Conn) endsWithSocket() bool { return c.flags&(readEnded|hasLayer) == readEnded }

// endLayer ends the stream above the layer, as the peer has, and then the connection. The layer's end is bytes that are
// sent, such as an alert of TLS: closing the socket does not send them, as it sends FIN.
func (c *Conn) endLayer() {
	if c.optional&hasClosed != 0 {
		c.keepRemoteAddr() // with both ends closed, the system does not have it
	}
	c.sendFIN()
	if c.phase == closing && c.flags&sendPending == 0 { // otherwise Sent follows, and allSent again
		c.release(c.endReason())
	}
}

// sendFINIfDrained sends FIN if nothing is unsent.
func (c *Conn) sendFINIfDrained() {
	if c.phase.intact() && c.phase != starting && c.Unsent() == 0 {
		c.sendFIN()
	}
}

func (c *Conn) sendFIN() {
	c.mu.Lock()
	first := c.writeHalf < finSent
	if first {
		c.advanceWriteHalfLocked(finSent)
	}
	c.mu.Unlock()
	if !first {
		return
	}
	c.finSent(c.closeWriteHalf())
}

// finSent handles the result of sending FIN.
func (c *Conn) finSent(err error) {
	if errors.Is(err, syscall.ENOTCONN) { // it was reset and is no longer connected
		if c.phase == lingering && c.flags&readEnded == 0 {
			return // ReceiveEnded is still to come
		}
		err = c.opError("close write", syscall.ECONNRESET)
	}
	if err != nil {
		c.ioFailed(err)
	}
}

// closeWriteHalf ends the stream that is sent: of the layer, or of the socket.
func (c *Conn) closeWriteHalf() error {
	if c.flags&hasLayer == 0 {
		return c.stream.CloseWrite()
	}
	done, err := c.layer().CloseWrite(&c.stream)
	if !done && err == nil {
		c.flags |= sendPending
	}
	return err
}

// release ends the connection. Closed is called when the driver has released the stream.
func (c *Conn) release(why error) {
	if c.phase.gone() {
		return
	}
	if c.phase == failing || c.phase != connecting && (c.Unsent() > 0 || c.endsInReset() || c.endsRelayed()) {
		c.stream.SetLinger(0) // a FIN would claim that the peer has everything
	}
	switch c.phase {
	case connecting:
		c.undoDial()
	case starting:
		c.noteLayerFailed(why)
	}
	c.teardown(why, released)
	c.driver().Release(&c.stream)
}

// teardown enters the last phase, released or detached. The caller must have the driver release
// or detach the stream then.
func (c *Conn) teardown(why error, last phase) {
	c.mu.Lock()
	c.setEndReasonLocked(why)
	c.enterLocked(last)
	c.mu.Unlock()
	c.leaveFanouts()
	c.cancelContext(why)
	x := c.loadExtras()
	if x != nil {
		c.replaceHandler() // the handler set last gets Closed
	}
	if c.optional&hasClosed != 0 { // Closed may ask for the address
		c.keepRemoteAddr()
	}
	c.dropUnread()
	c.stopDeadlines()
	if x != nil {
		x.linger.stop(c.loop)
	}
}

// callEnd makes the last calls of a connection: WriteOwned's done, Dial's function, Detach's
// function, and Closed.
func (c *Conn) callEnd() {
	l := c.loop
	notSent := c.endReason()
	if notSent == nil || errors.Is(notSent, io.EOF) {
		notSent = ErrClosed
	}
	c.mu.Lock()
	c.unstageLocked()
	c.dropQueuedLocked(notSent)
	c.mu.Unlock()
	l.removeConn(c)
	// Deferred, so that each is called even if the one before has ended the goroutine.
	defer c.callClosed()
	defer c.callDetached()
	defer c.callDialed(notSent)
	c.runPostponed()
	l.callDone()
}

func (c *Conn) callClosed() {
	if c.handler != nil && c.optional&hasClosed != 0 {
		c.callbackErr(func() { c.handler.(ClosedHandler).Closed(c, c.endReason()) })
	}
}
