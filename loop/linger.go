package loop

import "time"

// How long a closing connection has: the linger timer, and what extends it. See close.go.

// shutdownLinger is how long a peer that has received everything and FIN has to close its side
// during the group's shutdown: an idle peer may never do it.
const shutdownLinger = time.Second

// linger starts the linger timer: LingerTimeout from now, or sooner during the group's shutdown.
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
	case c.extendLinger():
	case c.phase == lingering:
		c.release(c.endReason())
	default:
		c.fail(ErrLingerTimeout)
	}
}

// extendLinger restarts the linger timer, and returns true, if the peer has taken bytes since the
// last sample, or within LingerTimeout, and MaxLinger has not passed. The peer may have taken bytes from
// the kernel's send buffer without a report to the driver: systems report writability late, such as when
// a third of a buffer of megabytes is free. They also acknowledge late, so the closing connection is
// checked only after the whole LingerTimeout.
//
// In phase lingering it returns false if the peer has received everything, or the system cannot report
// that. While the kernel holds bytes, release may lose them: if the peer keeps sending, some of that may be
// unread, and then the kernel sends a reset instead of what it holds (RFC 9293, 3.6.1, RFC 1122, 4.2.2.13).
func (c *Conn) extendLinger() bool {
	r, x, now := c.makeRareExtras(), c.extras, c.loop.clock()
	if c.peerProgressed() {
		x.lastActive = now
	}
	config := &c.loop.g.config
	if c.phase == lingering {
		if !r.progress.sampled || r.progress.held == 0 {
			return false
		}
		if r.lingerEnd == 0 { // nothing was unsent when it was closed: this is the first sample
			r.lingerEnd = later(x.lastActive, config.MaxLinger)
			x.lastActive = now // the peer may have taken bytes before it
		}
	}
	if now >= r.lingerEnd || later(x.lastActive, config.LingerTimeout) <= now {
		return false
	}
	c.linger()
	return true
}
