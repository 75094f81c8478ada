package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// connTimer is a timer of a connection.
type connTimer struct {
	timer wheel.Timer
}

// start schedules f(c) on the loop at nanos.
func (t *connTimer) start(c *Conn, nanos int64, f func(*Conn)) {
	t.timer.Fire = func(*wheel.Timer) { f(c) }
	c.loop.timers.Start(&t.timer, nanos)
}

func (t *connTimer) stop(l *Loop) { l.timers.Stop(&t.timer) }

// SetIdleTimeout closes the connection with ErrTimeout when it has neither received nor sent for
// d. If d is zero or negative, there is no timeout. The default is Config.IdleTimeout.
//
// The timeout is suspended while the handler has paused, and restarts with Resume. While reading
// is stopped by back-pressure, bytes that the kernel receives from the peer count as activity,
// and so do bytes that the peer takes; the connection may then be closed as late as after twice
// d. Once sending has failed, the timeout runs even while paused.
func (c *Conn) SetIdleTimeout(d time.Duration) error {
	return c.submit("set idle timeout", wantIdle, func() { c.makeExtrasLocked().idleTimeout = d })
}

// SetReadDeadline closes the connection with ErrTimeout at t, unless the deadline is moved or
// removed (by the zero Time) before. It is a deadline for the peer, so it is suspended while
// reading is stopped by back-pressure: it moves by that time, and comes at least 100 ms after
// reading resumes. It keeps running while the handler has paused: remove it there.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.submit("set read deadline", wantRead, func() {
		at := int64(0)
		if !t.IsZero() {
			// 0 means none; 1 has passed, too
			at = max(int64(t.Sub(c.loop.g.began)), 1)
		}
		c.makeExtrasLocked().readDeadline = at
	})
}

// setDeadlines applies the requests of SetIdleTimeout and SetReadDeadline.
func (c *Conn) setDeadlines(r request) {
	if c.phase >= closing {
		return // only LingerTimeout applies
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

// suspendReadDeadline stops the read deadline's timer until resumeReadDeadline.
func (c *Conn) suspendReadDeadline() {
	if x := c.loadExtras(); x != nil && x.activeReadDeadline != 0 {
		c.makeRareExtras().readSuspended = c.loop.clock()
		x.read.stop(c.loop)
	}
}

// readGrace is the least time between the resumption of reading and the read deadline: what the
// peer has sent in the meantime must be read first, and may move the deadline.
const readGrace = 100 * time.Millisecond

// resumeReadDeadline restarts the read deadline, moved by the time for which it was suspended.
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

// idleTick runs when the idle timeout would have passed without activity. Activity only updates
// lastActive; the timer is moved here.
func (c *Conn) idleTick() {
	x := c.extras
	c.mu.Lock()
	idle, moved := x.idleTimeout, c.requests&wantIdle != 0
	c.mu.Unlock()
	if moved {
		return // setDeadlines is about to apply it
	}
	now := c.loop.clock()
	paused := c.pauses&byUser != 0 && c.phase == open // when detaching, it waits for the peer
	if paused || c.phase.intact() && c.pauses&byWatermark != 0 && c.peerIsActive() {
		x.lastActive = now
	}
	if end := later(x.lastActive, idle); end > now {
		x.idle.start(c, end, (*Conn).idleTick)
		return
	}
	c.fail(ErrTimeout)
}

// peerIsActive reports whether the peer has sent or taken bytes since the last call, while it is
// not read because of back-pressure, judging by what the kernel's buffers hold. The first call
// after resetPeerCheck only takes a sample, and returns true.
func (c *Conn) peerIsActive() bool {
	r := c.makeRareExtras()
	unread, known := c.stream.Unread()
	active := !r.unreadSampled || known && unread > r.kernelUnread
	r.kernelUnread, r.unreadSampled = unread, true
	return c.peerProgressed() || active
}

// restartIdle restarts the idle timeout.
func (c *Conn) restartIdle() {
	if c.flags&hasIdleTimeout != 0 {
		c.extras.lastActive = c.loop.clock()
		c.resetPeerCheck()
	}
}

// resetPeerCheck makes the next call of peerIsActive the first.
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
	if !moved { // otherwise setDeadlines is about to apply it
		c.fail(ErrTimeout)
	}
}
