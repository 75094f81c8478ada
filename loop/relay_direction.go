package loop

import (
	"sync/atomic"

	"github.com/pollux-io/pollux/sock"
)

// A direction moves the bytes of a relay from one connection to the other. How is behind its
// methods, which from's and to's callbacks call: here the bytes are received in the loop's
// memory and written from there, and only what the kernel does not take at once is copied. To
// move them without copying (splice(2)), replace move, drained and bytes: the rest of a relay
// knows only when a direction is full, has drained and has finished.
type direction struct {
	from, to *Conn

	// waits is set while from is paused until to has drained.
	waits atomic.Bool

	forwarded atomic.Int64 // bytes that to has accepted; added by from's loop
	refused   atomic.Bool  // to has not accepted bytes: it had failed, or was being closed
	dropped   int64        // bytes that to has dropped unsent; guarded by to's mu
}

// move passes b on, and returns how many bytes were taken. It pauses from if to has enough.
func (d *direction) move(b []byte) int {
	n, full := d.to.forward(d, b)
	if full {
		d.wait()
	}
	return n
}

// wait pauses from until drained is called. In the meantime to, on another loop, may have drained
// already, and drained may not have seen that from waits: so it is checked once more.
func (d *direction) wait() {
	d.from.Pause() // before waits is set, or Resume could come before Pause
	d.waits.Store(true)
	d.to.mu.Lock()
	above := d.to.watermark&above != 0
	d.to.mu.Unlock()
	if !above {
		d.drained()
	}
}

// drained resumes from, if it waits for to.
func (d *direction) drained() {
	if d.waits.CompareAndSwap(true, false) {
		d.from.Resume()
	}
}

// finish passes on that from's peer has closed its side. If to has failed, its Closed follows.
func (d *direction) finish() { d.to.CloseWrite() }

// bytes returns how many bytes the kernel took. Both connections must have ended.
func (d *direction) bytes() int64 {
	d.to.mu.Lock()
	defer d.to.mu.Unlock()
	// What was written before the relay is dropped last.
	return max(d.forwarded.Load()-d.dropped, 0)
}

// noteDroppedLocked counts n bytes that a relayed connection drops unsent. c.mu must be held.
func (c *Conn) noteDroppedLocked(n int) {
	if s, ok := c.handler.(*relaySide); ok {
		s.other.out.dropped += int64(n)
	}
}

// forward writes b, in d.from's Data, and returns how many bytes were taken, at most up to
// MaxUnsentBytes, and whether d is full: then Drained follows. If the connection accepts no writes,
// because it has failed or is being closed, b is dropped: its Closed ends the relay.
func (c *Conn) forward(d *direction, b []byte) (taken int, full bool) {
	c.mu.Lock()
	if !c.acceptsWritesLocked() {
		c.mu.Unlock()
		d.refused.Store(true)
		return len(b), false
	}
	sent := 0
	config := &c.loop.g.config
	if c.out == nil && c.loop == d.from.loop && c.flags&sendPending == 0 && c.watermark&above == 0 {
		now := b
		if c.flags&hasLayer != 0 { // a layer keeps what it has begun to send: that must be queued
			now = b[:min(len(b), config.MaxUnsentBytes)]
		}
		if sent = c.forwardNowLocked(now); sent == len(b) {
			c.mu.Unlock()
			d.forwarded.Add(int64(sent))
			return sent, false
		}
	}
	unsent := c.unsentLocked()
	taken = sent + min(len(b)-sent, max(config.MaxUnsentBytes-unsent, 0))
	c.queueLocked(b[sent:taken])
	if full = taken < len(b) || unsent+taken-sent > c.watermarksLocked().high; full {
		c.watermark |= above
	}
	d.forwarded.Add(int64(taken))
	c.submitAndUnlock(wantFlush)
	return taken, full
}

// forwardNowLocked sends b immediately, without a copy, and returns how many bytes the kernel has
// taken; the caller must queue the rest. c.mu must be held, on the loop, in another connection's
// callback; nothing may be unsent.
func (c *Conn) forwardNowLocked(b []byte) int {
	l := c.loop
	var n int
	var err error
	switch {
	case c.driver().SyncSend():
		n, err = c.sendLocked(append(l.iov[:0], b), len(b))
	case len(b) >= l.direct:
		if n, err = c.stream.Write(b); err == sock.ErrWouldBlock {
			err = nil
		}
		l.sentDirectly.Add(uint64(n))
		c.noteSentLocked(n)
	}
	if err != nil {
		c.failWritesLocked(err) // the system reports the error only once: flush returns it
	}
	return n
}
