package loop

import (
	"sync"
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
	patience time.Duration // for which the timer was started
	timeout  time.Duration // the write timeout in force
	lastSent int64         // when the peer has taken something, or began to be waited for
	looked   bool          // the timer has come since then: there is something to compare with
	held     int           // what the kernel held when it was asked last
	sampled  bool          // it was, and could tell
}

// SetWriteTimeout closes the connection with ErrWriteTimeout when bytes are unsent and the
// peer has taken none for d, twice that at the most. Zero, or less: never. At first it is
// Config.WriteTimeout.
func (c *Conn) SetWriteTimeout(d time.Duration) error {
	return c.ask("set write timeout", wantFlush, func() {
		x := c.rare()
		x.writeTimeout, x.ownWriteTimeout = max(d, 0), true
	})
}

// writeTimeout returns the write timeout as asked for. mu must be held.
func (c *Conn) writeTimeout() time.Duration {
	if x := c.extras; x != nil && x.rarely != nil && x.rarely.ownWriteTimeout {
		return x.rarely.writeTimeout
	}
	return c.loop.g.config.WriteTimeout
}

// watchSending starts the timer, if there is something to be waited for.
func (c *Conn) watchSending(f *flushed) {
	if f.unsent == 0 || c.phase != open {
		c.flags &^= timesSend | stalled
		return
	}
	patience := f.timeout
	if c.pauses&byWatermark != 0 && (patience == 0 || patience > c.loop.stalledAfter()) {
		patience = c.loop.stalledAfter()
	}
	if patience == 0 {
		c.flags &^= timesSend | stalled
		return
	}
	p := &c.rareNow().progress
	if c.flags&timesSend != 0 && p.patience == patience && p.timeout == f.timeout {
		return
	}
	if c.flags&timesSend == 0 || p.timeout != f.timeout {
		p.lastSent, p.looked = c.loop.clock(), false
	}
	c.flags |= timesSend
	sooner := patience < p.patience
	p.patience, p.timeout = patience, f.timeout
	if !p.running || sooner {
		c.startSendTimer(later(c.loop.clock(), patience/2)) // for a first look
	}
}

func (c *Conn) startSendTimer(at int64) {
	p := &c.extras.rarely.progress
	p.running = true
	p.timer.start(c, at, (*Conn).sendTick)
}

// sendTick looks whether the peer has taken anything since the last look.
func (c *Conn) sendTick() {
	p := &c.extras.rarely.progress
	p.running = false
	if c.flags&timesSend == 0 || c.phase != open {
		return
	}
	now := c.loop.clock()
	c.peerTakes()
	if !p.looked {
		p.looked = true
		p.lastSent = max(p.lastSent, now-int64(p.patience/2))
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

// peerTakes reports whether the kernel holds less for the peer than when it was asked last,
// and notes that. The first time, and on systems that cannot tell, it is false.
func (c *Conn) peerTakes() bool {
	p := &c.rareNow().progress
	held, known := c.stream.Queued()
	takes := known && p.sampled && held < p.held
	p.held, p.sampled = held, known
	if takes {
		p.lastSent = c.loop.clock()
	}
	return takes
}

// stallWarning limits warnings of connections that stand still, over all loops.
type stallWarning struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// warnStalled logs a connection that stands still, at most once in warnEvery.
func (l *Loop) warnStalled(c *Conn, silence time.Duration) {
	w := &l.g.stallWarning
	w.mu.Lock()
	now := time.Now()
	if !w.last.IsZero() && now.Sub(w.last) < warnEvery {
		w.skipped++
		w.mu.Unlock()
		return
	}
	skipped := w.skipped
	w.last, w.skipped = now, 0
	w.mu.Unlock()
	l.g.config.Logger.Warn("pollux: a connection stands still: its peer takes nothing, and it reads nothing because of back-pressure; "+
		"if the peer may wait for this side to read, call Conn.SetBackpressure(false), or read on and write from Drained; to end such peers, set Config.WriteTimeout",
		"remote", c.RemoteAddr(), "handler", c.handlerName(), "unsent", c.Unsent(), "for", silence.Round(time.Millisecond), "others since the last warning", skipped)
}

func (l *Loop) stalledAfter() time.Duration {
	if d := l.g.stalledAfter; d != 0 {
		return d
	}
	return stalledAfter
}
