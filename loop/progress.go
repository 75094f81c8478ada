package loop

import (
	"time"
)

// Whether a peer takes what is sent to it: for the write timeout, for the idle timeout, and to
// find connections that stand still because of their own back-pressure.
//
// While bytes are unsent, a timer looks now and then whether the peer has taken any: by the
// time at which the kernel took some from here, or by how many the kernel holds that the
// peer has not acknowledged. Kernels report room late, such as when a third of megabytes is
// free, so the second has to be looked at too.

// stalledAfter is how long a connection whose reading is stopped by back-pressure sends
// nothing before it is counted in LoopStats.Stalled.
const stalledAfter = 5 * time.Second

// progress is what is known of sending; the loop's own.
type progress struct {
	timer    connTimer
	running  bool
	interval time.Duration // for which the timer was started
	timeout  time.Duration // the write timeout in force
	lastSent int64         // when the peer has taken something, or began to be waited for
	ticked   bool          // the timer has come since then: there is something to compare with
	held     int           // what the kernel held when it was asked last
	sampled  bool          // it was, and could tell
}

// SetWriteTimeout closes the connection with ErrWriteTimeout when bytes are unsent and the
// peer has taken none for d, twice that at the most. Zero, or less: never. At first it is
// Config.WriteTimeout.
func (c *Conn) SetWriteTimeout(d time.Duration) error {
	return c.submit("set write timeout", wantFlush, func() {
		x := c.makeRareExtrasLocked()
		x.writeTimeout, x.ownWriteTimeout = max(d, 0), true
	})
}

// writeTimeout returns the write timeout as asked for. mu must be held.
func (c *Conn) writeTimeoutLocked() time.Duration {
	if x := c.extras; x != nil && x.rare != nil && x.rare.ownWriteTimeout {
		return x.rare.writeTimeout
	}
	return c.loop.g.config.WriteTimeout
}

// watchSending starts the timer, if there is something to be waited for.
func (c *Conn) watchSending(f *flushResult) {
	if f.unsent == 0 || c.phase != open {
		c.flags &^= timingSend | stalled
		return
	}
	patience := f.timeout
	if c.pauses&byWatermark != 0 && (patience == 0 || patience > c.loop.stalledAfter()) {
		patience = c.loop.stalledAfter()
	}
	if patience == 0 {
		c.flags &^= timingSend | stalled
		return
	}
	p := &c.makeRareExtras().progress
	if c.flags&timingSend != 0 && p.interval == patience && p.timeout == f.timeout {
		return
	}
	if c.flags&timingSend == 0 || p.timeout != f.timeout {
		p.lastSent, p.ticked = c.loop.clock(), false
	}
	c.flags |= timingSend
	sooner := patience < p.interval
	p.interval, p.timeout = patience, f.timeout
	if !p.running || sooner {
		c.startSendTimer(later(c.loop.clock(), patience/2)) // for a first look
	}
}

func (c *Conn) startSendTimer(at int64) {
	p := &c.extras.rare.progress
	p.running = true
	p.timer.start(c, at, (*Conn).sendTick)
}

// sendTick looks whether the peer has taken anything since the last look.
func (c *Conn) sendTick() {
	p := &c.extras.rare.progress
	p.running = false
	if c.flags&timingSend == 0 || c.phase != open {
		return
	}
	now := c.loop.clock()
	c.peerProgressed()
	if !p.ticked {
		p.ticked = true
		p.lastSent = max(p.lastSent, now-int64(p.interval/2))
	}
	silence := time.Duration(now - p.lastSent)
	if p.timeout > 0 && silence >= p.timeout {
		c.fail(ErrWriteTimeout)
		return
	}
	after := c.loop.stalledAfter()
	if c.pauses&byWatermark == 0 || silence < after {
		c.flags &^= stalled
	} else if c.flags&stalled == 0 {
		c.flags |= stalled
		c.loop.warnStalled(c, silence)
	}
	next := later(now, after) // of a stalled one, to find out whether it goes on
	if c.flags&stalled == 0 && c.pauses&byWatermark != 0 {
		next = later(p.lastSent, after)
	}
	if p.timeout > 0 {
		next = min(next, later(p.lastSent, p.timeout))
	}
	c.startSendTimer(max(next, now+1))
}

// peerProgressed reports whether the kernel holds less for the peer than when it was asked last,
// and notes that. The first time, and on systems that cannot tell, it is false.
func (c *Conn) peerProgressed() bool {
	p := &c.makeRareExtras().progress
	held, known := c.stream.Queued()
	takes := known && p.sampled && held < p.held
	p.held, p.sampled = held, known
	if takes {
		p.lastSent = c.loop.clock()
	}
	return takes
}

// warnStalled logs a connection that stands still.
func (l *Loop) warnStalled(c *Conn, silence time.Duration) {
	l.g.logs.stalled.warn("pollux: a connection stands still: its peer takes nothing, and it reads nothing because of back-pressure; "+
		"if the peer may wait for this side to read, call Conn.SetBackpressure(false), or read on and write from Drained; to end such peers, set Config.WriteTimeout",
		"remote", c.RemoteAddr(), "handler", c.handlerName(), "unsent", c.Unsent(), "for", silence.Round(time.Millisecond))
}

func (l *Loop) stalledAfter() time.Duration {
	if d := l.g.stalledAfter; d != 0 {
		return d
	}
	return stalledAfter
}
