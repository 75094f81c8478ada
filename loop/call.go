package loop

import (
	"runtime/debug"
	"time"
)

// begin marks that a callback of c runs: what is asked and written meanwhile waits
// for end. The watchdog sees it; the mark stays until the next callback, for it looks
// only when a turn does not end.
func (c *Conn) begin() {
	l := c.loop
	l.wakeUp()
	c.calling.Store(true)
	l.running.Store(c)
	l.counts.callbacks++
	if l.counts.callbacks%timedCallbacks == 0 {
		l.callStart = time.Now()
	}
}

// timedCallbacks: the time is read around one callback in so many, for Stats.
const timedCallbacks = 16

// end is deferred around every callback; settle comes after it. A panic becomes the
// reason to close.
func (c *Conn) end(err *error) {
	l := c.loop
	if v := recover(); v != nil {
		p := &PanicError{Value: v, Stack: debug.Stack()}
		*err = p
		l.g.config.Logger.Error("pollux: handler panicked; its connection is closed", "remote", c.RemoteAddr(), "panic", v, "stack", string(p.Stack))
	}
	if !l.callStart.IsZero() {
		took := time.Since(l.callStart)
		l.counts.callbackNanos += int64(took) * timedCallbacks
		l.counts.longest = max(l.counts.longest, took)
		l.callStart = time.Time{}
	}
	c.mu.Lock()
	c.calling.Store(false)
	r := c.requests
	c.requests = 0
	var f flushed
	flush := len(l.stage) > 0 || r&wantFlush != 0
	if flush {
		f = c.flushLocked()
	}
	c.mu.Unlock()
	if flush {
		c.afterFlush(f)
	}
	c.asked |= r &^ wantFlush
}

// settle does what callbacks have asked for, once what they left unread is kept.
func (c *Conn) settle() {
	if r := c.asked; r != 0 {
		c.asked = 0
		c.do(r)
	}
}

// callback runs f as a callback of c; a panic closes c.
func (c *Conn) callback(f func()) {
	err := c.callbackErr(f)
	c.settle()
	if err != nil {
		c.fail(err)
	}
}

func (c *Conn) callbackErr(f func()) (err error) {
	c.begin()
	defer c.end(&err)
	f()
	return nil
}

// callData is callback for Data, without a closure.
func (c *Conn) callData(b []byte) (n int, err error) {
	c.begin()
	defer c.end(&err)
	return c.handler.Data(c, b)
}

// protect runs a function that belongs to no connection.
func (l *Loop) protect(what string, f func()) {
	l.running.Store(nil)
	defer func() {
		if v := recover(); v != nil {
			l.g.config.Logger.Error("pollux: "+what+" panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
