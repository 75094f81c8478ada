package loop

import (
	"github.com/pollux-io/pollux/sock"
)

// TryWrite takes as many bytes of b as are sent at once, or can be queued below the high watermark
// (Config.HighWatermarkBytes, SetWatermarks), and returns their number. If that is less than len(b),
// the error is ErrBufferFull itself, and Drained is called when the unsent bytes have fallen to the low
// watermark: the rest may be written then. Other errors are those of Write, and if sending fails in this call,
// the system's (ECONNRESET, EPIPE). b may be reused immediately.
//
// TryWrite is for goroutines that wait until a connection takes their bytes, as package netconn does. In
// another goroutine than the loop's, while nothing is unsent, it makes the system call itself, and the loop is
// not woken: that is faster than Write if each call is a whole message, and slower if many small ones follow
// each other, which Write sends together. (A connection with an idle timeout is sent to by its loop, which
// measures the time, and so is one with TLS, and one on a simulated network, whose seed determines the order.) In a callback
// TryWrite stages small writes, as Write does. TryWrite never blocks, and may be called from any goroutine.
func (c *Conn) TryWrite(b []byte) (int, error) {
	c.mu.Lock()
	if !c.acceptsWritesLocked() {
		err := c.writeErrorLocked()
		c.mu.Unlock()
		return 0, c.opError("write", err)
	}
	sent := 0
	if c.sendsElsewhereLocked() {
		var err error
		sent, err = c.stream.Write(b)
		c.loop.sentDirectly.Add(uint64(sent))
		if sent == len(b) {
			c.mu.Unlock()
			return sent, nil
		}
		if err != sock.ErrWouldBlock {
			// The system reports the error only once: flush returns it.
			c.failWritesLocked(err)
			c.submitAndUnlock(wantFlush)
			return sent, c.opError("write", causeOf(err))
		}
	}
	n, err := c.queueBelowHighAndUnlock(b[sent:])
	return sent + n, err
}

// sendsElsewhereLocked reports whether the calling goroutine may send: it is not the loop's,
// or at least not in a callback of c, and nothing is unsent, so no send of the driver is pending either. What the
// loop alone does after it has sent (noteSentLocked) is not needed then: without unsent bytes the peer's progress is not
// timed, and there is no idle timeout. Nor is there a layer, which only the loop may call. c.mu must be held; the
// connection must accept writes.
func (c *Conn) sendsElsewhereLocked() bool {
	return c.out == nil && !c.inCallback() && c.plainLocked() && (c.extras == nil || c.extras.idleTimeout <= 0) && c.loop.g.sim == nil
}

// queueBelowHighAndUnlock queues as much of b as fits below the high watermark. c.mu must be
// held.
func (c *Conn) queueBelowHighAndUnlock(b []byte) (n int, err error) {
	n = min(len(b), max(c.watermarksLocked().high-c.unsentLocked(), 0))
	if n < len(b) {
		c.watermark |= above // with bytes unsent, so a flush is to come that finds the low watermark
		err = ErrBufferFull
	}
	if c.out == nil && c.inCallback() && err == nil && c.writeStagedLocked(b) {
		c.mu.Unlock()
		return n, nil
	}
	c.queueLocked(b[:n])
	c.submitAndUnlock(wantFlush)
	return n, err
}
