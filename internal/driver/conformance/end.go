package conformance

import (
	"errors"
	"io"
)

var endTests = []test{
	{"the peer's end", usual, peerEnds},
	{"bytes and end in one piece of news", usual, bytesAndEnd},
	{"bytes and end in a pause", small, endInPause},
	{"nothing after the end", usual, nothingAfterEnd},
	{"a reset in mid-receive", usual, resetReceiving},
	{"a reset in a pause", usual, resetPaused},
	{"the peer half-closes and goes on reading", usual, peerHalfCloses},
	{"this side half-closes and goes on receiving", usual, sideHalfCloses},
	{"stopped by the last bytes", small, stoppedByLast},
	{"a stream that is closed already", usual, streamClosedBefore},
}

func (c *conn) endsWith(bytes int) func() bool {
	return func() bool {
		if c.ended != nil && (c.got != bytes || !errors.Is(c.ended, io.EOF)) {
			c.h.Fatalf("%d bytes of %d, then %v", c.got, bytes, c.ended)
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
	h.quiet("the end was told")
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
	h.quiet("the ends were told")
}

func endInPause(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.calm()
	p.write(50_000)
	p.Close()
	h.calm()
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
		h.quiet("the end was told")
	}
	p.Close()
	h.quiet("the end was told")
	c.pause()
	c.resume()
	h.quiet("the end was told")
	c.send(1) // to which the system answers with a reset
	h.calm()
	c.send(2)
	h.calm()
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
		if errors.Is(c.ended, io.EOF) && !onWine() {
			h.Errorf("a reset was told as %v", c.ended)
		}
		if errors.Is(c.ended, io.EOF) {
			h.calm() // Failed comes then
		}
		h.quiet("the reset was told")
	}
}

func resetPaused(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.calm()
	p.reset()
	h.calm()
	if c.ended == nil {
		c.resume()
		h.until("the reset", func() bool { return c.ended != nil })
	}
	if errors.Is(c.ended, io.EOF) && c.failed == nil && !onWine() {
		h.Errorf("a reset was told as %v", c.ended)
	}
	h.quiet("the reset was told")
}

func peerHalfCloses(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	p.CloseWrite()
	h.until("the end", c.endsWith(10))
	c.send(300_000)
	h.meanwhile("what is sent after the end", p.wants(300_000, false))
	h.must(c.CloseWrite())
	h.meanwhile("the end of that", p.wants(300_000, true))
	h.calm()
}

func sideHalfCloses(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	c.send(10)
	h.meanwhile("10 bytes", p.wants(10, false))
	h.must(c.CloseWrite())
	h.meanwhile("the end", p.wants(10, true))
	h.quiet("nothing has come")
	p.write(1000)
	h.until("what comes after CloseWrite", func() bool { return c.got == 1000 })
	p.Close()
	h.until("the end", c.endsWith(1000))
}

// stoppedByLast: the last bytes stop receiving, the end comes when it goes on.
func stoppedByLast(h *harness) {
	c, p := h.pair()
	c.onReceived = func([]byte) bool { return c.got < 5000 }
	c.attach()
	c.resume()
	p.write(5000)
	p.Close()
	h.until("the bytes", func() bool { return c.got == 5000 })
	h.calm()
	if c.ended == nil {
		c.resume()
	}
	h.until("the end", c.endsWith(5000))
	h.quiet("the end was told")
}

// streamClosedBefore: a stream that is closed cannot be attached, or ends at once.
func streamClosedBefore(h *harness) {
	c, _ := h.pair()
	h.must(c.Close())
	var err error
	h.call("Attach", func() { err = h.drv.Attach(&c.Stream) })
	if err == nil {
		c.resume()
		h.until("an end", func() bool { return c.ended != nil })
	}
	c.release()
	h.until("Released", func() bool { return c.releases == 1 })
}
