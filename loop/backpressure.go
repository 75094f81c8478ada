package loop

// Back-pressure: while more than the high watermark is unsent, reading stops, so that no further
// requests produce responses.
//
// A write makes the connection pass to above, under mu (admit). Each flush then determines, under
// mu as well, whether it is below again, and what follows for reading (flowLocked); the loop acts
// on that (applyFlow).

// watermark is where the unsent bytes of a connection stand, guarded by its mu.
type watermark uint8

const (
	below watermark = iota
	above           // HighWatermarkBytes was exceeded, or a write refused; LowWatermarkBytes has not been reached since
)

// admit returns an error if n more bytes may not be added to the unsent ones, and passes to
// above if they exceed the high watermark, or if MaxUnsentBytes refuses them now and not later: so
// Drained is called.
func (w *watermark) admit(n, unsent int, limits *Config) error {
	if n > limits.MaxUnsentBytes {
		return ErrTooLarge
	}
	if n+unsent > limits.MaxUnsentBytes {
		*w = above
		return ErrBufferFull
	}
	if n+unsent > limits.HighWatermarkBytes {
		*w = above
	}
	return nil
}

// sentImmediately passes to below if a write has left nothing unsent: then Drained is not due.
func (w *watermark) sentImmediately(unsent int) {
	if unsent == 0 {
		*w = below
	}
}

// reached passes to below if the low watermark has been reached, and reports whether it has.
func (w *watermark) reached(unsent int, limits *Config) bool {
	if *w == below || unsent > limits.LowWatermarkBytes {
		return false
	}
	*w = below
	return true
}

// flow is what follows from the watermark for reading, after a flush.
type flow uint8

const (
	flowUnchanged flow = iota
	flowStops          // above: reading stops
	flowContinues      // above, but without back-pressure: reading continues
	flowDrained        // the low watermark has been reached: reading resumes, and Drained is due
)

// flowLocked updates the watermark after a flush. c.mu must be held.
func (c *Conn) flowLocked(unsent int) flow {
	switch {
	case c.watermark == below:
		return flowUnchanged
	case c.watermark.reached(unsent, &c.loop.g.config):
		return flowDrained
	case c.stopsReadingLocked():
		return flowStops
	}
	return flowContinues
}

// applyFlow stops or resumes reading of an open connection.
func (c *Conn) applyFlow(f flow) {
	switch f {
	case flowUnchanged:
	case flowStops:
		c.pauseReading()
	case flowContinues:
		c.resumeReading()
	case flowDrained:
		c.resumeReading()
		if c.in != nil {
			c.submitNextTurn(wantDeliver) // what Data left because it could not write
		}
		if c.optional&hasDrained != 0 {
			c.submitNextTurn(wantDrained)
		}
	}
}

// backpressure is the choice made by SetBackpressure.
type backpressure uint8

const (
	byDefault backpressure = iota // on for accepted connections
	always
	never
)

// SetBackpressure sets whether reading stops while more than Config.HighWatermarkBytes are
// unsent, until Config.LowWatermarkBytes is reached. By default it does on accepted connections and
// does not on dialed ones: if both sides stopped, and each wrote more than the other takes
// before it reads, both would wait forever. Drained is called either way. Without back-pressure
// the handler must limit its responses itself: up to Config.MaxUnsentBytes are queued.
func (c *Conn) SetBackpressure(on bool) error {
	return c.submit("set back-pressure", wantFlush, func() {
		x := c.makeRareExtrasLocked()
		if x.backpressure = never; on {
			x.backpressure = always
		}
	})
}

// stopsReadingLocked reports whether reading stops above the high watermark. c.mu must be held.
func (c *Conn) stopsReadingLocked() bool {
	if _, ok := c.handler.(*relaySide); ok {
		return false // it stops reading of the other connection
	}
	if x := c.extras; x != nil && x.rare != nil && x.rare.backpressure != byDefault {
		return x.rare.backpressure == always
	}
	return c.accepted != nil
}

// pauseReading stops reading for back-pressure.
func (c *Conn) pauseReading() {
	if c.pauses&byWatermark == 0 {
		c.pause(byWatermark)
		c.suspendReadDeadline()
	}
}

// resumeReading undoes pauseReading.
func (c *Conn) resumeReading() {
	if c.pauses&byWatermark != 0 {
		c.resume(byWatermark)
		c.resumeReadDeadline()
	}
}
