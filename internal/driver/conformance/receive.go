package conformance

import (
	"errors"
	"io"
	"math/rand/v2"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/sys"
)

var receiveTests = []test{
	{"nothing before the first Resume", usual, nothingBeforeResume},
	{"data received before Attach", usual, receivedBeforeAttach},
	{"each write is reported", usual, eachWriteReported},
	{"data received while paused", usual, receivedWhilePaused},
	{"Resume twice and Pause twice", usual, resumeTwice},
	{"stopping from inside Received", small, stopInside},
	{"Resume and Pause in one upcall", small, pauseResumeInside},
	{"few bytes come after Pause", small, lateBytes},
	{"no upcalls while paused", usual, pausedNoUpcalls},
	{"every byte in order through pauses", small, randomPauses},
	{"many streams", small, manyStreams},
}

func nothingBeforeResume(h *harness) {
	c, p := h.pair()
	c.attach()
	h.expectQuiet("the stream is only attached")
	p.write(100)
	h.expectQuiet("the stream was never resumed")
	p.Close()
	h.expectQuiet("the stream was never resumed, though its peer closed")
	c.resume()
	h.until("the bytes and the end", func() bool { return c.got == 100 && c.ended != nil })
}

func receivedBeforeAttach(h *harness) {
	c, p := h.pair()
	p.write(100)
	c.attach()
	c.resume()
	h.until("100 bytes", func() bool { return c.got == 100 })
	h.expectQuiet("there is no more")
}

func eachWriteReported(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	for _, n := range []int{1, 100, 64 << 10, 1, 100_000, 1} {
		want := c.got + n
		p.push(n)
		h.until("a write", func() bool {
			p.push(want - p.wrote)
			return c.got == want
		})
	}
	h.expectQuiet("there is no more")
}

func receivedWhilePaused(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	h.turn(0)
	for range 5 {
		c.pause()
		h.untilQuiet()
		before := c.got
		p.write(1000)
		h.expectQuiet("the stream is paused")
		if c.got != before {
			h.Errorf("%d bytes were received while paused", c.got-before)
		}
		c.resume()
		h.until("the bytes sent while paused", func() bool { return c.got == p.wrote })
	}
}

func resumeTwice(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	c.resume()
	h.turn(0)
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	c.pause()
	h.untilQuiet()
	p.write(10)
	h.expectQuiet("the stream is paused")
	c.resume()
	c.pause()
	c.resume()
	c.resume()
	h.until("10 more", func() bool { return c.got == 20 })
	h.expectQuiet("there is no more")
}

// stopInside stops receiving in the first upcall, in each possible way, with more unread bytes than
// MaxLateBytes allows.
func stopInside(h *harness) {
	for _, stop := range []func(c *conn) bool{
		func(*conn) bool { return false },
		func(c *conn) bool { c.pause(); return true },
		func(c *conn) bool { c.pause(); return false },
	} {
		c, p := h.pair()
		if p.push(1<<20) < 2*driver.MaxLateBytes {
			h.Skipf("the system's buffers take only %d bytes: too few to exceed MaxLateBytes", p.wrote)
		}
		c.onReceived = func([]byte) bool { return stop(c) }
		c.attach()
		c.resume()
		h.until("one upcall", func() bool { return c.got > 0 })
		h.untilQuiet()
		p.push(10_000)
		h.expectQuiet("receiving was stopped")
		c.onReceived = nil
		c.resume()
		h.until("the rest", func() bool { return c.got == p.wrote })
	}
}

func pauseResumeInside(h *harness) {
	c, p := h.pair()
	p.write(20)
	c.onReceived = func([]byte) bool {
		c.pause()
		c.resume()
		return true
	}
	c.attach()
	c.resume()
	h.until("20 bytes", func() bool { return c.got == 20 })
	p.write(20)
	h.until("20 more", func() bool { return c.got == 40 })
	c.onReceived = func([]byte) bool {
		c.resume()
		c.pause()
		return true
	}
	p.write(20)
	h.until("the upcall that pauses", func() bool { return c.got > 40 })
	h.untilQuiet()
	p.write(20)
	h.expectQuiet("the stream is paused")
}

// lateBytes pauses a stream whose peer sends all it can: conn counts the bytes that still come.
func lateBytes(h *harness) {
	for range 5 {
		c, p := h.pair()
		c.attach()
		c.resume()
		h.until("some bytes", func() bool {
			p.push(2 << 20)
			return c.got > 64<<10
		})
		c.pause()
		p.push(2 << 20)
		h.untilQuiet()
		c.resume()
		h.until("all of it", func() bool { return c.got == p.wrote })
	}
}

func pausedNoUpcalls(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(1)
	h.until("a byte", func() bool { return c.got == 1 })
	c.pause()
	h.untilQuiet()
	p.push(1 << 20)
	h.expectQuiet("the stream is paused, with unread bytes")
	p.CloseWrite()
	h.expectQuiet("the stream is paused, with an unread EOF")
	c.resume()
	h.until("everything, and the end", func() bool { return c.got == p.wrote && c.ended != nil })
	if !errors.Is(c.ended, io.EOF) {
		h.Errorf("ReceiveEnded(%v), want EOF", c.ended)
	}
}

func randomPauses(h *harness) {
	random := rand.New(rand.NewPCG(1, 2))
	c, p := h.pair()
	c.onReceived = func([]byte) bool {
		switch random.IntN(5) {
		case 0:
			return false
		case 1:
			c.pause()
		case 2:
			c.pause()
			c.resume()
		}
		return c.receiving
	}
	c.attach()
	const total = 3 << 20
	for c.got < total || c.ended == nil {
		p.push(min(1+random.IntN(200_000), total-p.wrote))
		if p.wrote == total && p.ended == nil {
			p.CloseWrite()
			p.ended = io.EOF
		}
		if random.IntN(3) == 0 {
			c.pause()
		}
		h.turn(0)
		if !c.receiving {
			c.resume()
		}
	}
	if !errors.Is(c.ended, io.EOF) {
		h.Errorf("ReceiveEnded(%v), want EOF", c.ended)
	}
}

// manyStreams receives from 200 streams in rounds, some of them paused each time.
func manyStreams(h *harness) {
	const n = 200
	var conns []*conn
	for range n {
		c, _ := h.pair()
		c.attach()
		c.resume()
		conns = append(conns, c)
	}
	for round := range 5 {
		for i, c := range conns {
			if i%3 == round%3 {
				c.pause()
			}
		}
		h.untilQuiet()
		for _, c := range conns {
			c.p.write(5000)
		}
		complete := func(all bool) func() bool {
			return func() bool {
				for i, c := range conns {
					if c.got < c.p.wrote && (all || i%3 != round%3) {
						return false
					}
				}
				return true
			}
		}
		h.until("the bytes sent to streams that are not paused", complete(false))
		for i, c := range conns {
			if i%3 == round%3 {
				if c.got == c.p.wrote {
					h.Fatalf("stream %d received while paused", i)
				}
				c.resume()
			}
		}
		h.until("the rest", complete(true))
	}
}

// onWine reports whether a reset may look like EOF.
func onWine() bool { return sys.OnWine() }
