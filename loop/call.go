package loop

import "time"

// beginCallback marks c as being in a callback: what is requested and written meanwhile waits
// for endCallback. The watchdog reads the mark, too.
//
// Every message passes through beginCallback, callData, endCallback and Received, right after
// the kernel has filled the processor's caches with its own code. So they are short, and rare
// cases are handled in other functions.
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
		l.timed, l.callStart = true, l.clock()
	}
}

// timedCallbacks: the duration of one callback in so many is measured, for Stats.
const timedCallbacks = 64

func (l *Loop) noteCallbackTime() {
	took := time.Duration(l.clock() - l.callStart)
	l.counts.callbackNanos += int64(took) * timedCallbacks
	l.counts.longest = max(l.counts.longest, took)
	l.timed = false
}

// newPanicError takes the result of recover: nil means that the goroutine is exiting
// (runtime.Goexit).
func newPanicError(v any) *PanicError {
	if v == nil {
		v = errGoexit
	}
	return &PanicError{Value: v, Stack: stackNow()}
}

// panicked logs a panic and returns it as the reason to close.
func (c *Conn) panicked(v any) error {
	p := newPanicError(v)
	c.loop.g.logs.panics.Error("pollux: handler panicked; its connection is closed", "remote", c.RemoteAddr(), "panic", v, "stack", string(p.Stack))
	return p
}

// endCallback follows every callback, and doCallbackRequests must follow it. In the ordinary
// case the callback has made no requests, and all that it wrote is sent here.
func (c *Conn) endCallback() {
	l := c.loop
	if l.timed {
		l.noteCallbackTime()
	}
	c.mu.Lock()
	if c.requests != 0 || c.out != nil || c.phase != open || c.flags&^(hasIdleTimeout|hasLayer) != 0 || c.watermark&above != 0 {
		c.endSlowAndUnlock()
		return
	}
	if l.staging.Len() > 0 {
		staged := l.staging.Take()
		n, err := c.sendLocked(append(l.iov[:0], staged), len(staged))
		if n < len(staged) {
			c.endShortWriteAndUnlock(staged[n:], err)
			return
		}
	}
	l.running.Store(nil)
	c.mu.Unlock()
}

// endShortWriteAndUnlock is endCallback after a short write: the kernel has not taken rest. c.mu
// must be held.
func (c *Conn) endShortWriteAndUnlock(rest []byte, err error) {
	c.queueLocked(rest)
	f := c.flushResultLocked()
	f.err = err
	c.loop.running.Store(nil)
	c.mu.Unlock()
	c.afterFlush(f)
}

// endSlowAndUnlock is endCallback if there are requests, unsent bytes or another special state.
// c.mu must be held.
func (c *Conn) endSlowAndUnlock() {
	l := c.loop
	var f flushResult
	if c.requests&wantAbort != 0 { // what the callback wrote is dropped, too
		c.unstageLocked()
		c.requests &^= wantFlush
	}
	flush := l.staging.Len() > 0 || c.requests&wantFlush != 0
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
	if f.flow == flowDrained && c.in == nil {
		c.callbackRequests |= wantDeliver // what Data leaves is not in c.in yet; if it is, afterFlush requests this
	}
}

// callback runs f as a callback of c, and then the requests that it made; a panic closes c.
func (c *Conn) callback(f func()) {
	c.finishCallback(c.callbackErr(f))
}

// finishCallback is doCallbackRequests if err is nil. Otherwise the callback panicked: the
// requests are dropped, and the connection is released. With a layer it is reset: layers promise
// that a stream without their end is seen to be incomplete, and some peers take a FIN for that end.
func (c *Conn) finishCallback(err error) {
	if err != nil {
		if c.callbackRequests&wantAbort != 0 || c.flags&hasLayer != 0 {
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

// callData calls Data as callback does, but without a closure. The caller must call endCallback.
func (c *Conn) callData(b []byte) (n int, err error) {
	c.beginCallback()
	returned := false
	defer func() {
		if !returned { // calling recover has a cost
			err = c.panicked(recover())
		}
	}()
	n, err = c.handler.Data(c, b)
	returned = true
	return n, err
}
