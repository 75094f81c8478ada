package conformance

import (
	"errors"
	"io"
	"syscall"
)

// failureTests test Failed, and that data received before a failure is delivered.
var failureTests = []test{
	{"a reset while paused", usual, failurePaused},
	{"a reset while paused with unread bytes", small, failureUnread},
	{"a reset of a stream that was never resumed", usual, failureUnresumed},
	{"a reset after the peer's EOF", usual, failureAfterEnd},
	{"a reset with the EOF still unread", usual, failureBehindEnd},
	{"pausing from inside Received after a reset", small, failureThenPause},
	{"a reset behind more than the budget", small, failureBehindBudget},
	{"bytes received before a send failed", small, receiveAfterSendFailed},
	{"closing both sides is not a failure", usual, endsAreNoFailure},
	{"Release from inside Failed", usual, releaseInFailed},
}

func (c *conn) hasFailed() bool {
	if c.failed != nil && !errors.Is(c.failed, syscall.ECONNRESET) {
		c.h.Fatalf("Failed(%v), want ECONNRESET", c.failed)
	}
	return c.failed != nil
}

// resumeToEnd resumes the stream, and waits for the end after so many bytes.
func (c *conn) resumeToEnd(bytes int) {
	c.h.Helper()
	c.resume()
	c.h.until("the end", func() bool { return c.ended != nil })
	if c.got != bytes && !onWine() {
		c.h.Errorf("received %d bytes in all after the failure, want %d", c.got, bytes)
	}
	c.h.expectQuiet("the stream has ended")
}

func failurePaused(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.untilQuiet()
	p.reset()
	h.until("Failed", c.hasFailed)
	h.expectQuiet("the failure was reported")
	c.resumeToEnd(10)
}

func failureUnread(h *harness) {
	for _, n := range []int{1, 5000, 100_000} {
		c, p := h.pair()
		c.attach()
		c.resume()
		p.write(10)
		h.until("10 bytes", func() bool { return c.got == 10 })
		c.pause()
		h.untilQuiet()
		p.write(n)
		h.untilQuiet()
		p.reset()
		h.until("Failed", c.hasFailed)
		h.expectQuiet("the failure was reported")
		c.resumeToEnd(10 + n)
	}
}

func failureUnresumed(h *harness) {
	c, p := h.pair()
	c.attach()
	p.write(1000)
	h.untilQuiet()
	p.reset()
	h.until("Failed", c.hasFailed)
	c.resumeToEnd(1000)
}

func failureAfterEnd(h *harness) {
	for _, n := range []int{0, 1000} {
		c, p := h.pair()
		c.attach()
		c.resume()
		p.write(n)
		p.CloseWrite()
		h.until("the end", c.endsWith(n))
		h.expectQuiet("the end was reported")
		p.reset()
		h.until("Failed", c.hasFailed)
		h.expectQuiet("the failure was reported")
	}
}

func failureBehindEnd(h *harness) {
	c, p := h.pair()
	c.attach()
	p.write(1000)
	p.CloseWrite()
	h.untilQuiet()
	p.reset()
	h.until("Failed", c.hasFailed)
	c.resumeToEnd(1000)
}

// failureThenPause stops receiving from inside Received, with unread bytes and then the failure
// to come.
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
		h.expectQuiet("the failure was reported")
		c.onReceived = nil
		c.resumeToEnd(100_000)
	}
}

// failureBehindBudget: while the stream is receiving, ReceiveEnded reports the failure, and Failed
// does not.
func failureBehindBudget(h *harness) {
	c, p := h.pair()
	c.attach()
	h.turn(0)
	p.write(100_000)
	p.reset()
	c.resume()
	h.until("the end", func() bool { return c.ended != nil })
	if c.got != 100_000 && !onWine() {
		h.Errorf("received %d bytes before the failure, want %d", c.got, 100_000)
	}
	h.untilQuiet()
}

// receiveAfterSendFailed: a send error ends sending only.
func receiveAfterSendFailed(h *harness) {
	for _, resumed := range []bool{true, false} {
		c, p := h.smallBufferPair()
		c.attach()
		if resumed {
			c.resume()
			p.write(10)
			h.until("10 bytes", func() bool { return c.got == 10 })
			c.pause()
		}
		c.send(1 << 20)
		h.untilQuiet()
		n := p.push(4000)
		p.Close() // with unread bytes, so the system sends a reset
		h.until("the error of Send or Sent", func() bool { return c.out.err != nil })
		h.untilQuiet()
		c.resumeToEnd(c.got + n)
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
		h.pollUntil("EOF at the peer", p.hasRead(0, true))
		if resumed {
			h.until("the end", c.endsWith(0))
		}
		p.Close()
		h.untilQuiet()
		h.expectQuiet("both sides are closed")
		if c.failed != nil {
			h.Errorf("Failed(%v), though both sides were closed without an error", c.failed)
		}
		if !resumed {
			c.resumeToEnd(0)
			if !errors.Is(c.ended, io.EOF) {
				h.Errorf("ReceiveEnded(%v), want EOF", c.ended)
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
	h.awaitReleased(c)
}
