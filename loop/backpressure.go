package loop

// Back-pressure: while more than the high watermark is unsent, reading stops, so that no further
// requests produce responses.

// backpressure is the choice made by SetBackpressure.
type backpressure uint8

const (
	byDefault backpressure = iota // on for accepted connections
	always
	never
)

// SetBackpressure sets whether reading stops while more than Config.HighWatermark bytes are
// unsent, until Config.LowWatermark is reached. By default it does on accepted connections and
// does not on dialed ones: if both sides stopped, and each wrote more than the other takes
// before it reads, both would wait forever. Drained is called either way. Without back-pressure
// the handler must limit its responses itself: up to Config.MaxUnsent bytes are queued.
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
