package loop

// Back-pressure: while more than the high watermark is unsent, nothing is read, so that
// questions make no more answers.

// backpressure is what SetBackpressure has chosen.
type backpressure uint8

const (
	byDefault backpressure = iota // on for accepted connections
	always
	never
)

// SetBackpressure chooses whether reading stops while more than Config.HighWatermark bytes
// are unsent, until Config.LowWatermark is reached. At first it does on accepted
// connections, and does not on dialed ones: if both sides did, and each wrote more than
// the other takes before it reads, both would wait for ever. Drained is called either way.
// Without back-pressure the handler sees to it that answers do not pile up: up to
// Config.MaxUnsent they are kept.
func (c *Conn) SetBackpressure(on bool) error {
	return c.submit("set back-pressure", wantFlush, func() {
		x := c.makeRareExtrasLocked()
		if x.backpressure = never; on {
			x.backpressure = always
		}
	})
}

// stopsReadingLocked reports whether reading stops above the high watermark. mu must be held.
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

// resumeReading ends what pauseReading began.
func (c *Conn) resumeReading() {
	if c.pauses&byWatermark != 0 {
		c.resume(byWatermark)
		c.resumeReadDeadline()
	}
}
