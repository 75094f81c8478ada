package loop

import (
	"time"
)

// begin marks that a callback of c runs: what is asked and written meanwhile waits
// for end. The watchdog sees it, too.
//
// begin, callData, end and Received are what every message runs through, right after
// the kernel has filled the processor's caches with its own code. So they are short,
// and what is seldom needed is elsewhere.
func (c *Conn) beginCallback() {
	l := c.loop
	l.counts.callbacks++
	if !l.awake.Load() || l.counts.callbacks%timedCallbacks == 0 {
		l.beginSlow()
	}
	l.running.Store(c)
}

func (l *Loop) beginSlow() {
	l.wakeUp()
	if l.counts.callbacks%timedCallbacks == 0 {
		l.timed, l.callStart = true, time.Now()
	}
}

// timedCallbacks: the time is read around one callback in so many, for Stats.
const timedCallbacks = 64

func (l *Loop) noteCallbackTime() {
	took := time.Since(l.callStart)
	l.counts.callbackNanos += int64(took) * timedCallbacks
	l.counts.longest = max(l.counts.longest, took)
	l.timed = false
}

// newPanicError is for what recover returns: nil, if the goroutine is being ended.
func newPanicError(v any) *PanicError {
	if v == nil {
		v = errGoexit
	}
	return &PanicError{Value: v, Stack: stackNow()}
}

// panicked makes a panic the reason to close.
func (c *Conn) panicked(v any) error {
	p := newPanicError(v)
	c.loop.g.logs.panics.error("pollux: handler panicked; its connection is closed", "remote", c.RemoteAddr(), "panic", v, "stack", string(p.Stack))
	return p
}

// end follows every callback, and settle comes after it. In the ordinary case all that
// the callback wrote goes out here, and nothing else has been asked for.
func (c *Conn) endCallback() {
	l := c.loop
	if l.timed {
		l.noteCallbackTime()
	}
	c.mu.Lock()
	if c.requests != 0 || c.out != nil || c.phase != open || c.flags&^hasIdleTimeout != 0 || c.crossed {
		c.endSlowAndUnlock()
		return
	}
	if stage := l.staging; len(stage) > 0 {
		l.staging = stage[:0]
		n, err := c.sendLocked(append(l.iov[:0], stage), len(stage))
		if n < len(stage) {
			c.endShortWriteAndUnlock(stage[n:], err)
			return
		}
	}
	l.running.Store(nil)
	c.mu.Unlock()
}

// endShortWriteAndUnlock is end when the kernel has not taken all of the stage; mu is held.
func (c *Conn) endShortWriteAndUnlock(rest []byte, err error) {
	c.queueLocked(rest)
	f := c.flushResultLocked()
	f.err = err
	c.loop.running.Store(nil)
	c.mu.Unlock()
	c.afterFlush(f)
}

// endSlowAndUnlock is end when something was asked for, or waits to be sent; mu is held.
func (c *Conn) endSlowAndUnlock() {
	l := c.loop
	var f flushResult
	if c.requests&wantAbort != 0 { // what it wrote is dropped, too
		c.unstageLocked()
		c.requests &^= wantFlush
	}
	flush := len(l.staging) > 0 || c.requests&wantFlush != 0
	if flush {
		f = c.flushLocked()
	}
	r := c.requests
	c.requests = 0
	l.running.Store(nil)
	c.mu.Unlock()
	if flush {
		c.afterFlush(f)
	}
	c.callbackRequests |= r &^ wantFlush
	if f.drained && c.in == nil {
		c.callbackRequests |= wantDeliver // what Data has left is not kept yet; afterFlush sees to what is
	}
}

// settle does what callbacks have asked for, once what they left unread is kept.
func (c *Conn) doCallbackRequests() {
	if r := c.callbackRequests; r != 0 {
		c.callbackRequests = 0
		c.doRequests(r)
	}
}

// callback runs f as a callback of c; a panic closes c.
func (c *Conn) callback(f func()) {
	c.finishCallback(c.callbackErr(f))
}

// finishCallback is settle after a callback that panicked, if err is not nil: that is why the
// connection ends, whatever was asked for.
func (c *Conn) finishCallback(err error) {
	if err != nil {
		if c.callbackRequests&wantAbort != 0 {
			c.stream.SetLinger(0)
		}
		c.callbackRequests = 0
		c.release(c.endReason())
		return
	}
	c.doCallbackRequests()
}

func (c *Conn) callbackErr(f func()) (err error) {
	c.beginCallback()
	defer c.endCallback()
	returned := false
	defer func() {
		if !returned {
			err = c.panicked(recover())
			c.addEndReason(err)
		}
	}()
	f()
	returned = true
	return nil
}

// callData is callback for Data, without a closure; end is the caller's to call.
func (c *Conn) callData(b []byte) (n int, err error) {
	c.beginCallback()
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
