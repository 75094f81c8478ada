package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/stream"
)

// Detection of whether a peer takes what is sent to it: for the write timeout, for the idle
// timeout, and to find connections that are stalled by their own back-pressure.
//
// While bytes are unsent, a timer checks whether the peer has taken any: by the time of the last
// send, or by the number of bytes that the kernel holds and the peer has not acknowledged.
// Kernels report writability late, such as when a third of a buffer of megabytes is free, so the
// second is needed, too.

// stalledAfter is how long a connection whose reading is stopped by back-pressure sends nothing
// before it counts as stalled (LoopStats.Stalled).
const stalledAfter = 5 * time.Second

// progress is the state of this detection, accessed by the loop only.
type progress struct {
	timer    connTimer
	running  bool
	interval time.Duration // the timer's
	timeout  time.Duration // the write timeout in force
	lastSent int64         // when the peer last took bytes, or the wait for it began
	ticked   bool          // the timer has fired since lastSent was set: held is a sample to compare with
	held     int           // bytes that the kernel held at the last sample
	sampled  bool          // held is valid
}

// SetWriteTimeout closes the connection with ErrWriteTimeout when bytes are unsent and the peer
// has taken none for d, twice that at the most. If d is zero or negative, there is no timeout.
// The default is Config.WriteTimeout.
func (c *Conn) SetWriteTimeout(d time.Duration) error {
	return c.submit("set write timeout", wantFlush, func() {
		x := c.makeRareExtrasLocked()
		x.writeTimeout, x.ownWriteTimeout = max(d, 0), true
	})
}

// writeTimeoutLocked returns the requested write timeout. c.mu must be held.
func (c *Conn) writeTimeoutLocked() time.Duration {
	if x := c.extras; x != nil && x.rare != nil && x.rare.ownWriteTimeout {
		return x.rare.writeTimeout
	}
	return c.loop.g.config.WriteTimeout
}

// watchSending starts the timer if bytes are unsent and there is a timeout, or stops the
// detection.
func (c *Conn) watchSending(f *flushResult) {
	if f.unsent == 0 || !c.phase.intact() {
		c.flags &^= timingSend | stalled
		return
	}
	interval := f.timeout
	if c.pauses&byWatermark != 0 && (interval == 0 || interval > c.loop.stalledAfter()) {
		interval = c.loop.stalledAfter()
	}
	if interval == 0 {
		c.flags &^= timingSend | stalled
		return
	}
	p := &c.makeRareExtras().progress
	if c.flags&timingSend != 0 && p.interval == interval && p.timeout == f.timeout {
		return
	}
	if c.flags&timingSend == 0 || p.timeout != f.timeout {
		p.lastSent, p.ticked = c.loop.clock(), false
	}
	c.flags |= timingSend
	sooner := interval < p.interval
	p.interval, p.timeout = interval, f.timeout
	if !p.running || sooner {
		c.startSendTimer(later(c.loop.clock(), interval/2)) // to take the first sample
	}
}

func (c *Conn) startSendTimer(at int64) {
	p := &c.extras.rare.progress
	p.running = true
	p.timer.start(c, at, (*Conn).sendTick)
}

// sendTick checks whether the peer has taken anything since the last sample.
func (c *Conn) sendTick() {
	p := &c.extras.rare.progress
	p.running = false
	if c.flags&timingSend == 0 || !c.phase.intact() {
		return
	}
	now := c.loop.clock()
	c.peerProgressed()
	silence := p.silence(now)
	if p.timeout > 0 && silence >= p.timeout {
		c.fail(ErrWriteTimeout)
		return
	}
	after := c.loop.stalledAfter()
	stops := c.pauses&byWatermark != 0
	if !stops || silence < after {
		c.flags &^= stalled
	} else if c.flags&stalled == 0 {
		c.flags |= stalled
		c.loop.warnStalled(c, silence)
	}
	c.startSendTimer(p.nextCheck(now, after, stops))
}

// silence returns for how long the peer has taken nothing. At the first tick that is known only
// since the first sample, half an interval ago.
func (p *progress) silence(now int64) time.Duration {
	if !p.ticked {
		p.ticked = true
		p.lastSent = max(p.lastSent, now-int64(p.interval/2))
	}
	return time.Duration(now - p.lastSent)
}

// nextCheck returns when the timer fires next: as soon as the peer may have been silent for the
// write timeout, or, if back-pressure stops reading, for after; once it is stalled, each after.
func (p *progress) nextCheck(now int64, after time.Duration, stops bool) int64 {
	next := later(now, after)
	if at := later(p.lastSent, after); stops && at > now {
		next = at
	}
	if p.timeout > 0 {
		next = min(next, later(p.lastSent, p.timeout))
	}
	return max(next, now+1)
}

// peerProgressed takes a sample of the bytes that the kernel holds for the peer, and reports
// whether they are fewer than at the last sample. For the first sample, and on systems that
// cannot report the number, it returns false.
func (c *Conn) peerProgressed() bool {
	p := &c.makeRareExtras().progress
	held, known := stream.Of(&c.stream).UnackedBytes()
	takes := p.sample(held, known)
	if takes {
		p.lastSent = c.loop.clock()
	}
	return takes
}

// sample records how many bytes the kernel holds, if that is known, and reports whether they are
// fewer than before.
func (p *progress) sample(held int, known bool) bool {
	fewer := known && p.sampled && held < p.held
	p.held, p.sampled = held, known
	return fewer
}

// sent accounts for n bytes that the kernel has taken since the last sample: it holds that many more, unless the
// peer has taken some. A driver that sends asynchronously has sent nothing when the first sample is taken.
func (p *progress) sent(n int) {
	if p.sampled {
		p.held += n
	}
}

// warnStalled logs a stalled connection.
func (l *Loop) warnStalled(c *Conn, silence time.Duration) {
	l.g.logs.stalled.Warn("pollux: a connection is stalled: its peer takes nothing, and it reads nothing because of back-pressure; "+
		"if the peer may wait for this side to read, call Conn.SetBackpressure(false), or keep reading and write from Drained; to close such connections, set Config.WriteTimeout",
		"remote", c.RemoteAddr(), "handler", c.handlerName(), "unsent", c.Unsent(), "for", silence.Round(time.Millisecond))
}

func (l *Loop) stalledAfter() time.Duration {
	if d := l.g.stalledAfter; d != 0 {
		return d
	}
	return stalledAfter
}
