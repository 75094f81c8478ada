package conformance

import (
	"bytes"
	"io"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

var detachTests = []test{
	{"leaves the descriptor usable", usual, detachUsable},
	{"loses no received byte", small, detachLosesNothing},
	{"to another queue", usual, detachToQueue},
	{"from inside Received", usual, detachInside},
	{"a reset that has already arrived", usual, detachReset},
}

// rest reads from a detached stream until n bytes have been received in all.
func (c *conn) rest(n int) {
	c.h.Helper()
	b := make([]byte, 10_000)
	c.h.waitFor("the rest of the bytes", func() bool {
		k, err := c.Read(b)
		if !bytes.Equal(b[:k], text[c.got:c.got+k]) {
			c.h.Fatalf("%d bytes read after %d differ from those sent", k, c.got)
		}
		c.got += k
		if err != nil && err != sock.ErrWouldBlock {
			c.h.Fatalf("after %d bytes: %v", c.got, err)
		}
		return c.got >= n
	})
	c.h.others = append(c.h.others, c)
}

func detachUsable(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	p.write(10)
	h.until("10 bytes", func() bool { return c.got == 10 })
	c.pause()
	h.untilQuiet()
	p.write(10)
	c.detach()
	if c.releases > 0 {
		h.Error("Released came from inside Detach")
	}
	p.write(10)
	h.awaitReleased(c)
	c.rest(30)
	if n, err := c.Write(text[:10]); n != 10 || err != nil {
		h.Errorf("Write after Detach = %d, %v", n, err)
	}
	h.waitFor("the peer's bytes", p.hasRead(10, false))
	p.write(10)
	h.expectQuiet("the stream no longer belongs to the driver")
	c.rest(40)
	p.Close()
	h.expectQuiet("the stream no longer belongs to the driver")
	h.waitFor("the end", func() bool {
		_, err := c.Read(make([]byte, 10))
		if err != nil && err != io.EOF && err != sock.ErrWouldBlock {
			h.Fatal(err)
		}
		return err == io.EOF
	})
}

// detachLosesNothing detaches while receiving, paused or not: bytes are delivered before Released,
// or can still be read from the descriptor.
func detachLosesNothing(h *harness) {
	for turns := range 5 {
		for _, paused := range []bool{false, true} {
			c, p := h.pair()
			c.attach()
			c.resume()
			p.write(30_000)
			for range turns {
				h.turn(0)
			}
			if paused {
				c.pause()
			}
			p.write(30_000)
			c.detach()
			p.write(1000)
			h.awaitReleased(c)
			c.rest(61_000)
		}
	}
}

func detachToQueue(h *harness) {
	h.needsSystem("a Poll watches only sockets of the operating system")
	c, p := h.pair()
	c.attach()
	c.resume()
	h.turn(0)
	c.detach()
	h.awaitReleased(c)
	h.others = append(h.others, c)
	q, err := pollux.New()
	h.must(err)
	defer q.Close()
	h.must(q.Register(c, 7, pollux.Readable, pollux.Edge))
	p.write(10)
	events := make([]pollux.Event, 4)
	n, err := q.Wait(events, deadline)
	if n != 1 || err != nil || events[0].Token() != 7 || !events[0].Readable() {
		h.Fatalf("Wait = %v, %v", events[:n], err)
	}
	c.rest(10)
}

// detachReset: a reset that came with the last bytes is reported, by the driver if the system has
// already reported it, and else by the socket.
func detachReset(h *harness) {
	if onWine() {
		h.Skip("skipped under Wine: after a poll has seen a reset, a read returns EOF there")
	}
	for _, paused := range []bool{false, true} {
		c, p := h.pair()
		c.onReceived = func([]byte) bool {
			if !paused {
				c.detach()
			}
			return paused && c.got < 10
		}
		c.attach()
		c.resume()
		h.turn(0)
		p.write(10)
		p.reset()
		if paused {
			h.until("the bytes", func() bool { return c.got == 10 })
			c.resume()
			h.turn(0)
			if c.ended == nil && c.failed == nil {
				c.detach()
			} else {
				c.release() // the reset was reported
			}
		}
		h.awaitReleased(c)
		h.others = append(h.others, c)
		if c.ended != nil || c.failed != nil {
			continue
		}
		h.waitFor("the reset", func() bool {
			_, err := c.Read(make([]byte, 10))
			if err == io.EOF {
				h.Fatal("after a reset, Read returned EOF")
			}
			return err != nil && err != sock.ErrWouldBlock
		})
	}
}

func detachInside(h *harness) {
	c, p := h.pair()
	c.onReceived = func([]byte) bool {
		if !c.gone {
			c.detach()
		}
		return false
	}
	c.attach()
	c.resume()
	p.push(200_000)
	h.awaitReleased(c)
	c.rest(p.wrote)
}
