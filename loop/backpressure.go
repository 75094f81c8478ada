package loop

import (
	"cmp"
	"fmt"
)

// Back-pressure: while more than the high watermark is unsent, reading stops, so that no further
// requests produce responses.
//
// A write makes the connection pass to above, under mu (admit). Each flush then determines, under
// mu as well, whether it is below again, and what follows for reading (flowLocked); the loop acts
// on that (applyFlow).

// watermark is where the unsent bytes of a connection stand, guarded by its mu: a set of flags.
type watermark uint8

const (
	above         watermark = 1 << iota // the high watermark was exceeded, or a write refused; the low one has not been reached since
	ownWatermarks                       // rareExtras has the watermarks, not Config
)

// watermarks are numbers of unsent bytes: limits of a connection.
type watermarks struct{ high, low int }

// admit returns an error if n more bytes may not be added to the unsent ones, and passes to
// above if they exceed the high watermark, or if MaxUnsentBytes refuses them now and not later: so
// Drained is called.
func (w *watermark) admit(n, unsent, high, maxUnsent int) error {
	if n > maxUnsent {
		return ErrTooLarge
	}
	if unsent > maxUnsent-n { // the sum may exceed an int of 32 bits: a Shared may be queued many times
		*w |= above
		return ErrBufferFull
	}
	w.note(n+unsent, high)
	return nil
}

// note passes to above if the unsent bytes exceed the high watermark.
func (w *watermark) note(unsent, high int) {
	if unsent > high {
		*w |= above
	}
}

// sentImmediately passes to below if a write has left nothing unsent: then Drained is not due.
func (w *watermark) sentImmediately(unsent int) {
	if unsent == 0 {
		*w &^= above
	}
}

// reached passes to below if the low watermark has been reached, and reports whether it has.
func (w *watermark) reached(unsent, low int) bool {
	if *w&above == 0 || unsent > low {
		return false
	}
	*w &^= above
	return true
}

// watermarksLocked returns the watermarks in force. c.mu must be held.
func (c *Conn) watermarksLocked() watermarks {
	if c.watermark&ownWatermarks != 0 {
		return c.extras.rare.watermarks
	}
	return watermarks{c.loop.g.config.HighWatermarkBytes, c.loop.g.config.LowWatermarkBytes}
}

// SetWatermarks sets the watermarks of this connection, which are numbers of unsent bytes, instead
// of Config.HighWatermarkBytes and LowWatermarkBytes: above the high one reading stops, if there is
// back-pressure (SetBackpressure); at the low one it resumes, and Drained is called.
//
// highBytes is from 1 to Config.MaxUnsentBytes, and lowBytes from 1 to highBytes. Zero means the
// value of Config, for lowBytes at most highBytes. Other values are ErrBadArgument, and nothing
// changes.
//
// They take effect immediately: if more bytes than highBytes are unsent, reading stops, and Drained
// is called at the low watermark; if reading has stopped and no more than lowBytes are unsent, it
// resumes, and Drained is called.
func (c *Conn) SetWatermarks(highBytes, lowBytes int) error {
	const op = "set watermarks"
	w, err := c.loop.g.config.watermarks(highBytes, lowBytes)
	if err != nil {
		return c.opError(op, err)
	}
	return c.submit(op, wantFlush, func() {
		c.makeRareExtrasLocked().watermarks = w
		c.watermark |= ownWatermarks
		c.watermark.note(c.unsentLocked(), w.high)
	})
}

// watermarks returns the arguments of SetWatermarks with defaults applied, or an error if they are
// out of range.
func (c *Config) watermarks(high, low int) (watermarks, error) {
	w := watermarks{cmp.Or(high, c.HighWatermarkBytes), low}
	if low == 0 {
		w.low = min(c.LowWatermarkBytes, w.high)
	}
	switch {
	case w.high < 1 || w.high > c.MaxUnsentBytes:
		return w, fmt.Errorf("%w: highBytes is %d; it must be from 1 to MaxUnsentBytes, which is %d, or 0 for HighWatermarkBytes", ErrBadArgument, high, c.MaxUnsentBytes)
	case w.low < 1 || w.low > w.high:
		return w, fmt.Errorf("%w: lowBytes is %d; it must be from 1 to the high watermark, which is %d, or 0 for LowWatermarkBytes", ErrBadArgument, low, w.high)
	}
	return w, nil
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
	case c.watermark&above == 0:
		return flowUnchanged
	case c.watermark.reached(unsent, c.watermarksLocked().low):
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

// SetBackpressure sets whether reading stops while more bytes than the high watermark are unsent,
// until the low one is reached (SetWatermarks). By default it does on accepted and attached
// connections, and does not on dialed ones: if both sides stopped, and each wrote more than the
// other takes before it reads, both would wait forever. Drained is called either way. Without
// back-pressure the handler must limit its responses itself: up to Config.MaxUnsentBytes are
// queued.
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
