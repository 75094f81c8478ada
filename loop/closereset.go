package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/stream"
)

// closeByReset is CloseWith, except that the unsent bytes are followed by a reset, once the peer's
// system has acknowledged them, and not by FIN: the peer must not take them for a complete stream.
func (c *Conn) closeByReset(why error) error {
	return c.submit("close", wantClose, func() {
		c.upcoming |= endRequested
		r := c.makeRareExtrasLocked()
		r.closeReason, r.resets = why, true
	})
}

// endsInReset reports whether closeByReset was called.
func (c *Conn) endsInReset() bool {
	r := c.loadRareExtras()
	return r != nil && r.resets
}

// endsRelayed reports whether a relayed connection fails, such as at a timeout or by Shutdown, before
// the other one has got FIN: its peer has not got a complete stream.
func (c *Conn) endsRelayed() bool {
	if c.phase != open {
		return false
	}
	_, relayed := c.Handler().(*relaySide) // which may not be in force yet
	c.mu.Lock()
	defer c.mu.Unlock()
	return relayed && c.writeHalf == writeOpen
}

const (
	minAckInterval = time.Millisecond
	maxAckInterval = 50 * time.Millisecond
	unknownAckWait = 200 * time.Millisecond // where the system does not report acknowledgments
)

// resetWhenTaken ends a connection that is closing, with nothing unsent, by a reset. That drops
// what the kernel still holds for the peer, so it waits for the acknowledgments first; the linger
// timer limits the wait. A Unix socket has no reset, and its kernel holds what the peer has not
// read: it is closed.
func (c *Conn) resetWhenTaken() {
	held, known := stream.Of(&c.stream).UnackedBytes()
	p := &c.extras.rare.progress
	if known && held == 0 || p.interval >= unknownAckWait || c.network() == "unix" {
		c.release(c.endReason())
		return
	}
	switch {
	case !known:
		p.interval = unknownAckWait // once
	case p.interval == 0:
		p.interval = minAckInterval
	default:
		p.interval = min(2*p.interval, maxAckInterval)
	}
	p.timer.start(c, later(c.loop.clock(), p.interval), (*Conn).resetWhenTaken)
}
