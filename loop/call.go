package loop

import (
	"runtime/debug"
	"time"
)

// begin marks that a callback of c runs: what is asked and written meanwhile waits
// for end. The watchdog sees it, too.
func (c *Conn) begin() {
	l := c.loop
	l.wakeUp()
	l.running.Store(c)
	l.counts.callbacks++
	if l.counts.callbacks%timedCallbacks == 0 {
		l.timed, l.callStart = true, time.Now()
	}
}

// timedCallbacks: the time is read around one callback in so many, for Stats.
const timedCallbacks = 64

func (l *Loop) took() {
	took := time.Since(l.callStart)
	l.counts.callbackNanos += int64(took) * timedCallbacks
	l.counts.longest = max(l.counts.longest, took)
	l.timed = false
}

// panicked makes a panic the reason to close.
func (c *Conn) panicked(v any) error {
	p := &PanicError{Value: v, Stack: debug.Stack()}
	c.loop.g.config.Logger.Error("pollux: handler panicked; its connection is closed", "remote", c.RemoteAddr(), "panic", v, "stack", string(p.Stack))
	return p
}

// end follows every callback, and settle comes after it. In the ordinary case all that
// the callback wrote goes out here, and nothing else has been asked for.
func (c *Conn) end() {
	l := c.loop
	if l.timed {
		l.took()
	}
	c.mu.Lock()
	var f flushed
	flush := len(l.stage) > 0 || c.requests&wantFlush != 0
	if c.requests == 0 && c.out == nil && c.phase == open && c.flags&^idles == 0 && !c.crossed && !c.writeShut && len(l.done) == 0 {
		stage := l.stage
		if len(stage) == 0 {
			l.running.Store(nil)
			c.mu.Unlock()
			return
		}
		l.stage = stage[:0]
		n, err := c.send(append(l.iov[:0], stage), len(stage))
		if err == nil && n == len(stage) {
			l.running.Store(nil)
			c.mu.Unlock()
			return
		}
		c.queue(stage[n:])
		f = c.flushedLocked()
		f.err = err
	} else if flush {
		f = c.flushLocked()
	}
	r := c.requests
	c.requests = 0
	l.running.Store(nil)
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
	defer c.end()
	returned := false
	defer func() {
		if !returned {
			err = c.panicked(recover())
		}
	}()
	f()
	returned = true
	return nil
}

// callData is callback for Data, without a closure; end is the caller's to call.
func (c *Conn) callData(b []byte) (n int, err error) {
	c.begin()
	returned := false
	defer func() {
		if !returned { // recover itself costs something
			err = c.panicked(recover())
		}
	}()
	n, err = c.handler.Data(c, b)
	returned = true
	return n, err
}

// protect runs a function that belongs to no connection.
func (l *Loop) protect(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			l.g.config.Logger.Error("pollux: "+what+" panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
