package conformance

import (
	"errors"
	"io"

	"github.com/pollux-io/pollux/internal/driver"
)

var endTests = []test{
	{"the peer closes", usual, peerEnds},
	{"bytes and EOF in one event", usual, bytesAndEnd},
	{"bytes and EOF while paused", small, endInPause},
	{"nothing after the end", usual, nothingAfterEnd},
	{"a reset while receiving", usual, resetReceiving},
	{"a reset while paused", usual, resetPaused},
	{"the peer half-closes and continues to read", usual, peerHalfCloses},
	{"this side half-closes and continues to receive", usual, sideHalfCloses},
	{"stopped by the last bytes", small, stoppedByLast},
	{"a stream that is already closed", usual, streamClosedBefore},
}

func (c *conn) endsWith(bytes int) func() bool {
	return func() bool {
		if c.ended != nil && (c.got != bytes || !errors.Is(c.ended, io.EOF)) {
			c.h.Fatalf("received %d bytes, want %d, then %v", c.got, bytes, c.ended)
		}
		return c.ended != nil
	}
}

func peerEnds(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	p.Close()
	h.until("the end", c.endsWith(10))
	h.expectQuiet("the end was reported")
}

func bytesAndEnd(h *harness) {
	for _, n := range []int{0, 1, 100, 64 << 10, 100_000} {
		c, p := h.pair()
		p.write(n)
		p.Close()
		c.attach()
		c.resume()
		h.until("bytes and end", c.endsWith(n))

		c, p = h.pair()
		c.attach()
		c.resume()
		h.turn(0)
		p.write(n)
		p.CloseWrite()
		h.until("bytes and end", c.endsWith(n))
	}
	h.expectQuiet("the ends were reported")
}

func endInPause(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.untilQuiet()
	p.write(50_000)
	p.Close()
	h.untilQuiet()
	c.resume()
	h.until("bytes and end", c.endsWith(50_010))
}

func nothingAfterEnd(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.CloseWrite()
	h.until("the end", c.endsWith(0))
	for range 3 {
		c.pause()
		h.turn(0)
		c.resume()
		h.expectQuiet("the end was reported")
	}
	p.Close()
	h.expectQuiet("the end was reported")
	c.pause()
	c.resume()
	h.expectQuiet("the end was reported")
	c.send(1) // which the peer's system answers with a reset
	h.untilQuiet()
	c.send(2)
	h.untilQuiet()
}

func resetReceiving(h *harness) {
	for _, n := range []int{0, 100} {
		c, p := h.pair()
		c.attach()
		c.resume()
		h.turn(0)
		p.write(n)
		p.reset()
		h.until("the reset", func() bool { return c.ended != nil })
		if errors.Is(c.ended, io.EOF) && !h.hidesResets() {
			h.Errorf("a reset was reported as %v", c.ended)
		}
		if errors.Is(c.ended, io.EOF) {
			h.untilQuiet() // Failed follows
		}
		h.expectQuiet("the reset was reported")
	}
}

// hidesResets reports whether a reset may look like EOF to the driver: to one that has operations in flight, on Wine. Its
// server consumes the error when it polls the socket, perhaps before a receive is started.
func (h *harness) hidesResets() bool {
	_, operations := h.drv.(driver.Binder)
	return operations && onWine()
}

func resetPaused(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.untilQuiet()
	p.reset()
	h.untilQuiet()
	c.resume()
	h.until("the reset", func() bool { return c.ended != nil })
	if errors.Is(c.ended, io.EOF) && c.failed == nil && !h.hidesResets() {
		h.Errorf("a reset was reported as %v", c.ended)
	}
	h.expectQuiet("the reset was reported")
}

func peerHalfCloses(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	p.CloseWrite()
	h.until("the end", c.endsWith(10))
	c.send(300_000)
	h.pollUntil("the bytes sent after EOF", p.hasRead(300_000, false))
	h.must(c.CloseWrite())
	h.pollUntil("the EOF after them", p.hasRead(300_000, true))
	h.untilQuiet()
}

func sideHalfCloses(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	c.send(10)
	h.pollUntil("10 bytes", p.hasRead(10, false))
	h.pollUntil("Sent, if it is to come", func() bool { return !c.out.pending() })
	h.must(c.CloseWrite())
	h.pollUntil("the end", p.hasRead(10, true))
	h.expectQuiet("nothing was sent to this side")
	p.write(1000)
	h.until("the bytes sent after CloseWrite", func() bool { return c.got == 1000 })
	p.Close()
	h.until("the end", c.endsWith(1000))
}

// stoppedByLast: the last bytes stop receiving; the end comes after Resume.
func stoppedByLast(h *harness) {
	c, p := h.pair()
	c.onReceived = func([]byte) bool { return c.got < 5000 }
	c.attach()
	c.resume()
	p.write(5000)
	p.Close()
	h.until("the bytes", func() bool { return c.got == 5000 })
	h.untilQuiet()
	c.resume()
	h.until("the end", c.endsWith(5000))
	h.expectQuiet("the end was reported")
}

// streamClosedBefore: a closed stream cannot be attached, or ends immediately.
func streamClosedBefore(h *harness) {
	c, _ := h.pair()
	h.must(c.Close())
	var err error
	h.call("Attach", func() { err = h.drv.Attach(&c.Stream) })
	if err == nil {
		c.resume()
		h.until("ReceiveEnded", func() bool { return c.ended != nil })
	}
	c.release()
	h.until("Released", func() bool { return c.releases == 1 })
}
