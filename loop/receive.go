package loop

import (
	"errors"
	"fmt"
	"io"

	"github.com/pollux-io/pollux/internal/unread"
)

// receivedPart keeps what Data has left, and does the requests that it made.
func (c *Conn) receivedPart(rest []byte) {
	if len(rest) > 0 && c.phase.delivers() {
		c.keepUnread(rest)
	}
	c.doCallbackRequests()
	c.checkUnread()
}

// receivedSlow is Received of a connection that is not open, is paused, or has unread bytes.
func (c *Conn) receivedSlow(b []byte) bool {
	if c.phase == failing {
		c.noteFailing(len(b))
	}
	switch {
	case c.phase == detached:
		c.keepUnread(b) // received by the driver before Detach
		return false
	case c.phase == starting:
		c.keepUnread(b) // received by the driver before Pause: for the layer
		return false
	case c.phase >= closing:
		return !c.phase.gone() // after Close received bytes are dropped; only the FIN after them matters
	case c.phase == failing && c.pauses&^byUnread != 0:
		c.keepUnread(b) // for after Resume
	case c.phase != failing && c.pauses != 0:
		c.keepUnread(b)
		return false
	default:
		c.keepUnread(b)
		c.deliverUnread()
	}
	c.checkUnread()
	return c.receives()
}

// data calls Data with b and returns how much it consumed.
func (c *Conn) data(b []byte) int {
	c.loop.counts.messages++
	n, err := c.callData(b)
	if err != nil || uint(n) > uint(len(b)) {
		return c.badData(n, len(b), err)
	}
	c.endCallback()
	return n
}

// badData is endCallback after an invalid result of Data, n of b bytes, or an error; it closes
// the connection.
func (c *Conn) badData(n, b int, err error) int {
	if n < 0 || n > b {
		if err == nil {
			err = fmt.Errorf("loop: %T.Data reported %d bytes consumed, of %d", c.handler, n, b)
		}
		n = b
	}
	c.addEndReason(err) // before any reason found by endCallback
	c.endCallback()
	var panicked *PanicError
	if (c.callbackRequests&wantAbort != 0 || c.flags&hasLayer != 0) && errors.As(err, &panicked) {
		c.finishCallback(err) // no FIN, and no end above a layer, is sent before the reset
		return n
	}
	c.beginClose(c.endReason())
	return n
}

// keepUnread appends a copy of b to the unread bytes: up to MaxUnreadBytes and what one turn may
// receive.
func (c *Conn) keepUnread(b []byte) {
	if c.in == nil {
		c.in = unread.New(c.loop.blocks)
	}
	c.in.Append(b)
}

// deliverUnread calls Data with the unread bytes, once, and then delivers the end of the stream
// if it was received.
func (c *Conn) deliverUnread() {
	if u := c.in; u != nil {
		n := c.data(u.Bytes())
		if c.in == u { // or it was dropped: the connection is being closed
			u.Consume(n)
		}
		if u.Len() == 0 || !c.phase.delivers() {
			c.dropUnread()
		}
		c.doCallbackRequests()
		c.checkUnread()
	}
	c.deliverEOF()
}

func (c *Conn) dropUnread() {
	if c.in != nil {
		c.in.Free()
		c.in = nil // an idle connection has none
	}
}

// checkUnread stops receiving while MaxUnreadBytes are unread. A handler that could be called
// and has left so much needs more bytes: it would wait forever, so the connection is closed.
func (c *Conn) checkUnread() {
	if !c.phase.delivers() {
		return
	}
	if c.in == nil || c.in.Len() < c.loop.g.config.MaxUnreadBytes {
		c.resume(byUnread)
		return
	}
	if c.pauses&^byUnread != 0 || c.willDeliver() {
		c.pause(byUnread)
	} else {
		c.beginClose(ErrUnreadFull)
	}
}

// willDeliver reports whether Data is about to be called again with what it left.
func (c *Conn) willDeliver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests&wantDeliver != 0
}

// receiveEnded handles the end of receiving: io.EOF, or an error.
func (c *Conn) receiveEnded(err error) {
	c.flags |= readEnded
	switch {
	case c.phase.gone():
		// A given reason stays. For a detached connection this is the only time that the system
		// reports the error.
		if c.phase == detached && !errors.Is(err, io.EOF) {
			c.setEndReason(err)
		}
	case c.phase == lingering:
		c.release(c.endReason())
	case c.phase == closing && errors.Is(err, io.EOF):
	case c.phase == failing:
		c.receiveFailed(err)
	case errors.Is(err, io.EOF):
		c.flags |= eofPending
		c.deliverEOF()
	default:
		c.receiveFailed(err)
	}
}

// deliverEOF delivers the end of the stream, if the handler has got everything before it.
func (c *Conn) deliverEOF() {
	if c.phase == failing {
		c.endFailing()
		return
	}
	if c.flags&eofPending == 0 || c.pauses&^byUnread != 0 || c.phase != open || c.willDeliver() {
		return
	}
	c.flags &^= eofPending
	if c.optional&hasReadClosed == 0 {
		c.beginClose(io.EOF)
		return
	}
	c.callback(func() { c.handler.(ReadClosedHandler).ReadClosed(c) })
}
