package loop

import "github.com/pollux-io/pollux/internal/driver"

// connOf returns the connection to which a stream belongs.
func connOf(s *driver.Stream) *Conn { return (*Conn)(s.Up.(*upcalls)) }

// attach registers the connection with its loop's driver. An accepted one is open then. It
// returns false if the connection is gone.
func (c *Conn) attach() bool {
	if !c.added() {
		return false
	}
	l := c.loop
	var err error
	if c.accepted == nil {
		if err = l.drv.Connect(&c.stream); err == nil {
			return true
		}
	} else if err = l.drv.Attach(&c.stream); err == nil {
		c.opened(c.accepted.accept)
		return !c.phase.gone()
	}
	c.refused(err)
	return false
}

// added adds the connection to those of its loop. If the loop is ending, it releases the
// connection and returns false.
func (c *Conn) added() bool {
	l := c.loop
	l.addConn(c)
	if !l.ending {
		return true
	}
	why := ErrShutdown
	if l.failed.Load() != nil {
		why = l.endedError()
	}
	c.release(why)
	return false
}

// refused ends a connection that the driver could not attach or connect.
func (c *Conn) refused(err error) {
	l := c.loop
	if c.accepted != nil {
		l.g.logs.attaching.Warn("pollux: the driver could not attach a connection; it is closed", "error", err)
	}
	l.removeConn(c)
	c.undoDial()
	c.stream.Close()
	c.enter(released)
	c.callDialed(err)
}

// opened calls accept for the handler, and the handler's Opened.
func (c *Conn) opened(accept func(*Conn) Handler) {
	idle := c.loop.g.config.IdleTimeout > 0
	c.mu.Lock()
	c.enterLocked(open)
	if idle {
		c.makeExtrasLocked().idleTimeout = c.loop.g.config.IdleTimeout // Opened may change or remove it
	}
	c.mu.Unlock()
	l := c.loop
	sent := l.counts.bytesOut + l.sentDirectly.Load() // to detect whether accept sends anything
	var h Handler
	var layer layeredHandler
	err := c.callbackErr(func() {
		if h = accept(c); h != nil && wrapHandler != nil {
			h = wrapHandler(h)
		}
		if layer, _ = h.(layeredHandler); layer != nil {
			c.refuseWrites()
			return
		}
		if h == nil {
			return
		}
		c.setHandler(h)
		c.callOpened()
	})
	if layer != nil && err == nil {
		err = c.beginFirstLayer(layer)
		if err != nil {
			c.addEndReason(err)
			c.logUnusable(err)
		}
	}
	c.finishCallback(err)
	switch {
	case c.phase.gone():
		return
	case c.phase == starting:
		c.startLayer()
		return
	case layer != nil: // accept has ended the connection
		return
	case c.handler == nil && c.phase == detaching: // callDetached hands it over
	case c.handler == nil && c.Unsent() == 0 && sent == l.counts.bytesOut+l.sentDirectly.Load():
		c.release(errNoHandler)
		return
	case c.handler == nil:
		c.beginClose(errNoHandler) // accept wrote something: send it first
		return
	}
	c.begin()
}

// begin begins to receive, after Opened.
func (c *Conn) begin() {
	if c.loop.g.config.IdleTimeout > 0 && c.flags&hasIdleTimeout == 0 {
		c.setDeadlines(wantIdle)
	}
	if c.in != nil && c.pauses == 0 && c.phase.delivers() {
		c.deliverUnread() // given to Attach
	}
	if c.receives() {
		c.driver().Resume(&c.stream)
	}
}

// enqueueAttach has the connection attached by its loop, whose load includes it already. If the
// loop has ended, it closes the connection and returns false.
func (c *Conn) enqueueAttach() bool {
	c.mu.Lock()
	c.requests, c.queued = wantAttach, true
	c.mu.Unlock()
	if c.loop.put(op{conn: c}) {
		return true
	}
	c.undoDial()
	c.stream.Close()
	c.loop.load.Add(-1)
	c.loop.g.limits.Release()
	return false
}
