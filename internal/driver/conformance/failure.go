package conformance

import (
	"errors"
	"io"
	"syscall"
)

// failureTests are about Failed, and about what was received before a failure.
var failureTests = []test{
	{"a reset in a pause", usual, failurePaused},
	{"a reset in a pause with bytes to receive", small, failureUnread},
	{"a reset of a stream that was never resumed", usual, failureUnresumed},
	{"a reset after the peer's end", usual, failureAfterEnd},
	{"a reset while the end waits to be received", usual, failureBehindEnd},
	{"a reset in a pause that begins with it", small, failureThenPause},
	{"bytes received before sending failed", small, receiveAfterSendFailed},
	{"the end of both sides is no failure", usual, endsAreNoFailure},
	{"Release from inside Failed", usual, releaseInFailed},
}

func (c *conn) hasFailed() bool {
	if c.failed != nil && !errors.Is(c.failed, syscall.ECONNRESET) {
		c.h.Fatalf("Failed(%v), want ECONNRESET", c.failed)
	}
	return c.failed != nil
}

// endsAfter resumes the stream, and waits for so many bytes and the end.
func (c *conn) endsAfter(bytes int) {
	c.h.Helper()
	c.resume()
	c.h.until("the end", func() bool { return c.ended != nil })
	if c.got != bytes && !onWine() {
		c.h.Errorf("%d bytes of %d were received after the failure", c.got, bytes)
	}
	c.h.quiet("the stream has ended")
}

func failurePaused(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.calm()
	p.reset()
	h.until("Failed", c.hasFailed)
	h.quiet("the failure was reported")
	c.endsAfter(10)
}

func failureUnread(h *harness) {
	for _, n := range []int{1, 5000, 100_000} {
		c, p := h.pair()
		c.attach()
		c.resume()
		p.write(10)
		h.until("10 bytes", func() bool { return c.got == 10 })
		c.pause()
		h.calm()
		p.write(n)
		h.calm()
		p.reset()
		h.until("Failed", c.hasFailed)
		h.quiet("the failure was reported")
		c.endsAfter(10 + n)
	}
}

func failureUnresumed(h *harness) {
	c, p := h.pair()
	c.attach()
	p.write(1000)
	h.calm()
	p.reset()
	h.until("Failed", c.hasFailed)
	c.endsAfter(1000)
}

func failureAfterEnd(h *harness) {
	for _, n := range []int{0, 1000} {
		c, p := h.pair()
		c.attach()
		c.resume()
		p.write(n)
		p.CloseWrite()
		h.until("the end", c.endsWith(n))
		h.quiet("the end was told")
		p.reset()
		h.until("Failed", c.hasFailed)
		h.quiet("the failure was reported")
	}
}

func failureBehindEnd(h *harness) {
	c, p := h.pair()
	c.attach()
	p.write(1000)
	p.CloseWrite()
	h.calm()
	p.reset()
	h.until("Failed", c.hasFailed)
	c.endsAfter(1000)
}

// failureThenPause stops receiving from inside Received, with the failure behind what is
// still to be received.
func failureThenPause(h *harness) {
	for _, stop := range []func(c *conn) bool{
		func(*conn) bool { return false },
		func(c *conn) bool { c.pause(); return true },
	} {
		c, p := h.pair()
		c.onReceived = func([]byte) bool { return stop(c) }
		c.attach()
		p.write(100_000)
		p.reset()
		c.resume()
		h.until("the first bytes, and Failed", func() bool { return c.got > 0 && c.hasFailed() })
		h.quiet("the failure was reported")
		c.onReceived = nil
		c.endsAfter(100_000)
	}
}

// receiveAfterSendFailed: an error of sending ends sending alone.
func receiveAfterSendFailed(h *harness) {
	for _, resumed := range []bool{true, false} {
		c, p := h.tiny()
		c.attach()
		if resumed {
			c.resume()
			p.write(10)
			h.until("10 bytes", func() bool { return c.got == 10 })
			c.pause()
		}
		c.send(1 << 20)
		h.calm()
		n := p.push(4000)
		p.Close() // with bytes unread: the system resets
		h.until("the error of Send or Sent", func() bool { return c.out.err != nil })
		h.calm()
		c.endsAfter(c.got + n)
	}
}

func endsAreNoFailure(h *harness) {
	for _, resumed := range []bool{true, false} {
		c, p := h.pair()
		c.attach()
		if resumed {
			c.resume()
		}
		h.must(c.CloseWrite())
		p.CloseWrite()
		h.meanwhile("the end, as the peer sees it", p.wants(0, true))
		if resumed {
			h.until("the end", c.endsWith(0))
		}
		p.Close()
		h.calm()
		h.quiet("both sides have ended")
		if c.failed != nil {
			h.Errorf("both sides have ended, and Failed(%v)", c.failed)
		}
		if !resumed {
			c.endsAfter(0)
			if !errors.Is(c.ended, io.EOF) {
				h.Errorf("the end is %v", c.ended)
			}
		}
	}
}

func releaseInFailed(h *harness) {
	c, p := h.pair()
	c.onFailed = c.release
	c.attach()
	p.write(100)
	p.reset()
	h.until("Failed", c.hasFailed)
	h.isReleased(c)
}
