package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/stream"
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
			at = max(int64(t.Sub(c.loop.g.clock.began)), 1)
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
		c.loop.timers.Stop(&x.idleTimer.timer)
		c.flags &^= hasIdleTimeout
		if idle > 0 {
			c.flags |= hasIdleTimeout
			c.resetPeerCheck()
			if x.idleTimer.timer.Fire == nil {
				x.idleTimer.timer.Fire = func(*wheel.Timer) { c.idleTick() }
			}
			x.idleTimer.start(c.loop.timers, c.loop.clock(), idle)
		}
	}
	if r&wantRead != 0 {
		if x.read.timer.Fire == nil {
			x.read.timer.Fire = func(*wheel.Timer) { c.readTick() }
		}
		x.read.set(c.loop.timers, read)
		if c.pauses&byWatermark != 0 {
			c.suspendReadDeadline()
		}
	}
}

// suspendReadDeadline suspends the read deadline, if there is one, until resumeReadDeadline.
func (c *Conn) suspendReadDeadline() {
	if x := c.loadExtras(); x != nil && x.read.at != 0 {
		x.read.suspend(c.loop.timers, c.loop.clock())
	}
}

// resumeReadDeadline undoes suspendReadDeadline, if it was called.
func (c *Conn) resumeReadDeadline() {
	if x := c.loadExtras(); x != nil && x.read.at != 0 {
		x.read.resume(c.loop.timers, c.loop.clock())
	}
}

// idleTick runs when the idle timeout would have passed without activity.
func (c *Conn) idleTick() {
	x := c.extras
	c.mu.Lock()
	idle, moved := x.idleTimeout, c.requests&wantIdle != 0
	c.mu.Unlock()
	if moved {
		return // setDeadlines is about to apply it
	}
	now := c.loop.clock()
	paused := c.pauses&byUser != 0 && c.phase == open || // when detaching, it waits for the peer
		c.phase == starting && c.flags&hasLayer != 0 // which has a timeout of its own
	if paused || c.phase.intact() && c.pauses&byWatermark != 0 && c.peerIsActive() {
		x.lastActive = now
	}
	if x.idleTimer.expired(c.loop.timers, now, idle) {
		c.fail(ErrTimeout)
	}
}

// peerIsActive reports whether the peer has sent or taken bytes since the last call, while it is
// not read because of back-pressure, judging by what the kernel's buffers hold. The first call
// after resetPeerCheck only takes a sample, and returns true.
func (c *Conn) peerIsActive() bool {
	r := c.makeRareExtras()
	unread, known := stream.Of(&c.stream).UnreadBytes()
	active := r.kernelUnread.grown(unread, known)
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
		r.kernelUnread = unreadSample{}
	}
}

func (c *Conn) stopDeadlines() {
	if x := c.loadExtras(); x != nil {
		c.loop.timers.Stop(&x.idleTimer.timer)
		x.read.set(c.loop.timers, 0)
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
