package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// connTimer is a timer of a connection.
type connTimer struct {
	timer wheel.Timer
}

// start has f(c) called at nanos, on the loop.
func (t *connTimer) start(c *Conn, nanos int64, f func(*Conn)) {
	t.timer.Fire = func(*wheel.Timer) { f(c) }
	c.loop.timers.Start(&t.timer, nanos)
}

func (t *connTimer) stop(l *Loop) { l.timers.Stop(&t.timer) }

// SetIdleTimeout closes the connection with ErrTimeout when it has neither received nor sent
// for d. Zero, or less, takes the timeout away. At first it is Config.IdleTimeout.
//
// The timeout stands still while the handler has paused, and starts again with Resume. While
// reading is stopped by back-pressure, what the kernel receives from the peer counts,
// and so does what the peer takes; it may then take twice d until the connection is closed.
// Once sending has failed, the timeout runs on, also while paused.
func (c *Conn) SetIdleTimeout(d time.Duration) error {
	return c.submit("set idle timeout", wantIdle, func() { c.makeExtrasLocked().idleTimeout = d })
}

// SetReadDeadline closes the connection with ErrTimeout at t, unless it is moved or taken
// away (by the zero Time) before. It is for the peer, so while reading is stopped by
// back-pressure it stands still: it comes later by that time, and not within 100 ms after reading
// goes on. It runs on while the handler has paused: take it away there.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.submit("set read deadline", wantRead, func() {
		at := int64(0)
		if !t.IsZero() {
			// 1 is past as well.
			at = max(int64(t.Sub(c.loop.g.began)), 1)
		}
		c.makeExtrasLocked().readDeadline = at
	})
}

// setDeadlines takes over what SetIdleTimeout and SetReadDeadline have asked for.
func (c *Conn) setDeadlines(r request) {
	if c.phase >= closing {
		return // LingerTimeout is what counts
	}
	c.mu.Lock()
	x := c.makeExtrasLocked()
	idle, read := x.idleTimeout, x.readDeadline
	c.mu.Unlock()
	if r&wantIdle != 0 {
		x.idle.stop(c.loop)
		c.flags &^= hasIdleTimeout
		if idle > 0 {
			now := c.loop.clock()
			c.flags |= hasIdleTimeout
			x.lastActive = now
			c.resetPeerCheck()
			x.idle.start(c, later(now, idle), (*Conn).idleTick)
		}
	}
	if r&wantRead != 0 {
		x.read.stop(c.loop)
		if x.activeReadDeadline = read; read == 0 {
			return
		}
		if c.pauses&byWatermark != 0 {
			c.suspendReadDeadline()
			return
		}
		x.read.start(c, x.activeReadDeadline, (*Conn).readTick)
	}
}

// suspendReadDeadline has the read deadline stand still.
func (c *Conn) suspendReadDeadline() {
	if x := c.loadExtras(); x != nil && x.activeReadDeadline != 0 {
		c.makeRareExtras().readSuspended = c.loop.clock()
		x.read.stop(c.loop)
	}
}

// readGrace is how long reading has gone on again at the least when the read deadline comes:
// what the peer sent meanwhile, and has to be read first, may be what moves the deadline.
const readGrace = 100 * time.Millisecond

// resumeReadDeadline has the read deadline go on, later by the time for which it stood still.
func (c *Conn) resumeReadDeadline() {
	r := c.loadRareExtras()
	if r == nil || r.readSuspended == 0 {
		return
	}
	if x := c.extras; x.activeReadDeadline != 0 {
		now := c.loop.clock()
		x.activeReadDeadline = max(later(x.activeReadDeadline, time.Duration(now-r.readSuspended)), later(now, readGrace))
		x.read.start(c, x.activeReadDeadline, (*Conn).readTick)
	}
	r.readSuspended = 0
}

// idleTick comes when the connection would have been idle for its timeout, had
// nothing happened: activity only notes the time, and the timer follows it here.
func (c *Conn) idleTick() {
	x := c.extras
	c.mu.Lock()
	idle, moved := x.idleTimeout, c.requests&wantIdle != 0
	c.mu.Unlock()
	if moved {
		return // setDeadlines is about to see to it
	}
	now := c.loop.clock()
	paused := c.pauses&byUser != 0 && c.flags&detaching == 0 // Detach waits for the peer
	if c.phase == open && (paused || c.pauses&byWatermark != 0 && c.peerIsActive()) {
		x.lastActive = now
	}
	if end := later(x.lastActive, idle); end > now {
		x.idle.start(c, end, (*Conn).idleTick)
		return
	}
	c.fail(ErrTimeout)
}

// peerIsActive reports whether the peer has sent or taken something since it was looked at
// last, while back-pressure keeps it from being read: what the kernel holds tells. The first
// look is for the next one to compare with, and gives true.
func (c *Conn) peerIsActive() bool {
	r := c.makeRareExtras()
	unread, known := c.stream.Unread()
	active := !r.unreadSampled || known && unread > r.kernelUnread
	r.kernelUnread, r.unreadSampled = unread, true
	return c.peerProgressed() || active
}

// restartIdle has the idle timeout start anew.
func (c *Conn) restartIdle() {
	if c.flags&hasIdleTimeout != 0 {
		c.extras.lastActive = c.loop.clock()
		c.resetPeerCheck()
	}
}

// resetPeerCheck has the next look of peerIsActive be the first.
func (c *Conn) resetPeerCheck() {
	if r := c.loadRareExtras(); r != nil {
		r.unreadSampled = false
	}
}

func (c *Conn) stopDeadlines() {
	if x := c.loadExtras(); x != nil {
		x.idle.stop(c.loop)
		x.read.stop(c.loop)
		x.activeReadDeadline = 0
		if r := c.loadRareExtras(); r != nil {
			r.timer.stop(c.loop)
			r.running = false
		}
		c.flags &^= hasIdleTimeout | timingSend | stalled
	}
}

func (c *Conn) readTick() {
	c.mu.Lock()
	moved := c.requests&wantRead != 0
	c.mu.Unlock()
	if !moved { // else setDeadlines is about to see to it
		c.fail(ErrTimeout)
	}
}
