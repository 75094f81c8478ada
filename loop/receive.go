package loop

import (
	"errors"
	"fmt"
	"io"
)

// unread is the received bytes that the handler has not consumed, in a block that grows up to
// MaxUnread and what one turn may receive.
type unread struct {
	block  []byte
	lo, hi int
}

func (u *unread) bytes() []byte { return u.block[u.lo:u.hi] }

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
	if c.callbackRequests&wantAbort != 0 && errors.As(err, &panicked) {
		c.finishCallback(err) // no FIN is sent before the reset
		return n
	}
	c.beginClose(c.endReason())
	return n
}

// keepUnread appends a copy of b to the unread bytes.
func (c *Conn) keepUnread(b []byte) {
	blocks := c.loop.blocks
	if c.in == nil {
		c.in = &unread{block: blocks.Get(len(b))}
	}
	u := c.in
	if u.hi+len(b) > len(u.block) {
		if n := u.hi - u.lo + len(b); n > len(u.block) {
			bigger := blocks.Get(max(n, 2*(u.hi-u.lo)))
			copy(bigger, u.bytes())
			blocks.Put(u.block)
			u.block = bigger
		} else {
			copy(u.block, u.bytes())
		}
		u.lo, u.hi = 0, u.hi-u.lo
	}
	u.hi += copy(u.block[u.hi:], b)
}

// deliverUnread calls Data with the unread bytes, once, and then delivers the end of the stream
// if it was received.
func (c *Conn) deliverUnread() {
	if u := c.in; u != nil {
		u.lo += c.data(u.bytes())
		if u.lo == u.hi || !c.phase.delivers() {
			c.dropUnread()
		}
		c.doCallbackRequests()
		c.checkUnread()
	}
	c.deliverEOF()
}

func (c *Conn) dropUnread() {
	if c.in != nil {
		c.loop.blocks.Put(c.in.block)
		c.in = nil
	}
}

// checkUnread stops receiving while MaxUnread bytes are unread. A handler that could be called
// and has left so much needs more bytes: it would wait forever, so the connection is closed.
func (c *Conn) checkUnread() {
	if !c.phase.delivers() {
		return
	}
	if c.in == nil || c.in.hi-c.in.lo < c.loop.g.config.MaxUnread {
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
