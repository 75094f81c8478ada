package loop

import "github.com/pollux-io/pollux/internal/wheel"

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

// setDeadlines takes over what SetIdleTimeout and SetReadDeadline have asked for.
func (c *Conn) setDeadlines(r request) {
	if c.phase >= closing {
		return // LingerTimeout is what counts
	}
	c.mu.Lock()
	x := c.more()
	idle, read := x.idleTimeout, x.readDeadline
	c.mu.Unlock()
	if r&wantIdle != 0 {
		x.idle.stop(c.loop)
		c.flags &^= idles
		if idle > 0 {
			now := c.loop.clock()
			c.flags |= idles
			x.lastActive = now
			x.idle.start(c, later(now, idle), (*Conn).idleTick)
		}
	}
	if r&wantRead != 0 {
		x.read.stop(c.loop)
		if !read.IsZero() {
			x.read.start(c, int64(read.Sub(c.loop.g.began)), (*Conn).readTick)
		}
	}
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
	if end := later(x.lastActive, idle); end > c.loop.clock() {
		x.idle.start(c, end, (*Conn).idleTick)
		return
	}
	c.release(ErrTimeout)
}

func (c *Conn) stopDeadlines() {
	if c.extras != nil {
		c.extras.idle.stop(c.loop)
		c.extras.read.stop(c.loop)
		c.flags &^= idles
	}
}

func (c *Conn) readTick() {
	c.mu.Lock()
	moved := c.requests&wantRead != 0
	c.mu.Unlock()
	if !moved { // else setDeadlines is about to see to it
		c.release(ErrTimeout)
	}
}
