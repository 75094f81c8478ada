package conformance

var sendTests = []test{
	{"small sends", usual, smallSends},
	{"nothing", usual, sendNothing},
	{"many bytes through tiny buffers", usual, tinyBuffers},
	{"a reader that stalls, then continues", usual, stalledReader},
	{"many slices", usual, manySlices},
	{"both directions simultaneously", small, fullDuplex},
	{"many blocked sends", usual, manyBlocked},
	{"while receiving is paused, after the peer's EOF", usual, sendAfterEnd},
	{"from inside every upcall", usual, sendInside},
	{"the peer resets during a send", usual, resetSending},
	{"to a peer that has reset", usual, sendToClosedPeer},
	{"SendBlocked", usual, sendBlocked},
}

func smallSends(h *harness) {
	c, p := h.pair()
	c.attach()
	for n := range 200 {
		c.send((n + 1) * 50)
		h.pollUntil("a small send", p.hasRead((n+1)*50, false))
	}
	h.pollUntil("the last Sent, if it is to come", func() bool { return !c.out.pending() })
	h.expectQuiet("everything was sent")
}

// sendNothing: no Sent follows an empty Send.
func sendNothing(h *harness) {
	c, p := h.pair()
	c.attach()
	for _, bufs := range [][][]byte{{{}}, {nil, {}}, {nil}} {
		h.call("Send", func() {
			if n, err := h.drv.Send(&c.Stream, bufs); n != 0 || err != nil {
				h.Errorf("Send of no bytes = %d, %v", n, err)
			}
		})
		h.expectQuiet("nothing is to be sent")
	}
	c.send(100)
	h.pollUntil("something", p.hasRead(100, false))
}

func tinyBuffers(h *harness) {
	c, p := h.smallBufferPair()
	c.attach()
	const total = 1 << 20
	c.send(total)
	h.pollUntil("everything", p.hasRead(total, false))
	h.pollUntil("the last Sent", func() bool { return c.out.done == total })
	h.must(c.CloseWrite())
	h.pollUntil("the end", p.hasRead(total, true))
	h.untilQuiet()
}

func stalledReader(h *harness) {
	c, p := h.smallBufferPair()
	c.attach()
	const total = 2 << 20
	c.send(total)
	for range 3 {
		h.untilQuiet()
		if !c.out.pending() {
			h.Fatalf("the driver reports %d bytes as sent, though the peer reads nothing", c.out.done)
		}
		start := c.out.done
		// Not until: the system may send without an event, and the driver report it only when all
		// that it was given is sent.
		h.pollUntil("space for more", func() bool {
			p.pull(64 << 10)
			return c.out.done > start+100<<10
		})
	}
	h.pollUntil("everything", p.hasRead(total, false))
	h.pollUntil("the last Sent", func() bool { return c.out.done == total })
	h.expectQuiet("everything was sent")
}

// manySlices sends more slices in one call than a system call takes.
func manySlices(h *harness) {
	for _, n := range []int{2, 63, 64, 65, 200, 1100} {
		c, p := h.pair()
		c.attach()
		var bufs [][]byte
		total := 0
		for i := range n {
			size := i % 40
			bufs = append(bufs, append([]byte(nil), text[total:total+size]...))
			total += size
		}
		sent := 0
		var pending bool
		c.out.held = bufs
		c.onSent = func() { pending = false }
		for sent < total {
			var k int
			var err error
			rest := skip(bufs, sent)
			h.call("Send", func() { k, err = h.drv.Send(&c.Stream, rest) })
			h.must(err)
			sent += k
			if sent == total {
				break
			}
			pending = true
			c.out.held, c.out.inFlight, c.out.done = [][]byte{}, total-sent, 0
			h.pollUntil("Sent", func() bool { p.pull(all); return !pending })
			h.must(c.out.err)
			sent += c.out.done
		}
		c.out.held = nil
		h.pollUntil("all slices", p.hasRead(total, false))
	}
}

// skip returns bufs without their first n bytes.
func skip(bufs [][]byte, n int) (rest [][]byte) {
	for _, b := range bufs {
		k := min(n, len(b))
		n -= k
		if k < len(b) || n == 0 {
			rest = append(rest, b[k:])
		}
	}
	return rest
}

func fullDuplex(h *harness) {
	const total = 3 << 20
	c, p := h.pair()
	c.attach()
	c.resume()
	c.send(total)
	h.pollUntil("everything, both ways", func() bool {
		p.push(min(100_000, total-p.wrote))
		p.pull(50_000)
		return c.got == total && p.read == total && c.out.done == total
	})
	h.expectQuiet("everything was sent")
}

func manyBlocked(h *harness) {
	const n, total = 20, 100 << 10
	var conns []*conn
	for range n {
		c, _ := h.smallBufferPair()
		c.attach()
		c.resume()
		c.send(total)
		conns = append(conns, c)
	}
	h.pollUntil("all bytes of all streams", func() bool {
		done := 0
		for _, c := range conns {
			if c.p.hasRead(total, false)() && c.out.done == total {
				done++
			}
		}
		return done == n
	})
	h.expectQuiet("everything was sent")
}

func sendAfterEnd(h *harness) {
	c, p := h.smallBufferPair()
	c.attach()
	c.resume()
	const total = 200 << 10
	c.send(total)
	p.CloseWrite()
	h.until("the end", c.endsWith(0))
	c.pause()
	h.pollUntil("the bytes sent after EOF", p.hasRead(total, false))
	h.pollUntil("the last Sent", func() bool { return c.out.done == total })
	h.expectQuiet("everything was sent")
}

func sendInside(h *harness) {
	c, p := h.pair()
	goal := 0
	more := func() { goal += 40_000; c.send(goal) }
	c.onReceived = func([]byte) bool { more(); return true }
	c.onEnded = more
	c.attach()
	c.resume()
	p.write(1)
	h.until("a byte", func() bool { return c.got == 1 })
	h.pollUntil("the bytes that Received sent", func() bool { return p.hasRead(goal, false)() && !c.out.pending() })
	p.CloseWrite()
	h.until("the end", c.endsWith(1))
	h.pollUntil("the bytes that ReceiveEnded sent", p.hasRead(goal, false))
}

// resetSending: Send or Sent reports the error, and no upcall follows.
func resetSending(h *harness) {
	for _, receiving := range []bool{true, false} {
		c, p := h.smallBufferPair()
		c.attach()
		if receiving {
			c.resume()
		}
		c.send(4 << 20)
		h.untilQuiet()
		if !c.out.pending() {
			h.Fatal("4 MiB were sent, though the peer reads nothing")
		}
		p.reset()
		h.until("the error of Send or Sent", func() bool { return c.out.err != nil })
		if receiving {
			h.until("ReceiveEnded", func() bool { return c.ended != nil })
		}
		h.untilQuiet() // Failed may come too
		h.expectQuiet("the reset was reported")
	}
}

func sendToClosedPeer(h *harness) {
	c, p := h.pair()
	c.attach()
	p.reset()
	h.pollUntil("an error", func() bool {
		if c.out.err == nil && !c.out.pending() {
			c.send(c.out.done + 1)
		}
		return c.out.err != nil
	})
	h.untilQuiet()
	if c.failed != nil || !onWine() { // on Wine, Failed may come late
		h.expectQuiet("the error was reported")
	}
}

// sendBlocked: SendBlocked is false as long as Sent comes without the peer, and true when the peer must
// receive first.
func sendBlocked(h *harness) {
	c, p := h.smallBufferPair()
	c.attach()
	for n := range 50 { // less than the buffers hold
		c.send(n + 1)
		for turns := 0; c.out.pending(); turns++ {
			if h.drv.SendBlocked(&c.Stream) {
				h.Fatal("SendBlocked = true, though the kernel's buffer has space")
			}
			if turns == 1000 {
				h.Fatalf("no Sent in %d turns, though SendBlocked = false", turns)
			}
			h.turn(0)
		}
	}
	const total = 4 << 20
	c.send(total)
	h.untilQuiet()
	if !c.out.pending() || !h.drv.SendBlocked(&c.Stream) {
		h.Errorf("SendBlocked = false, though the peer receives nothing; %d of %d bytes are sent", c.out.done, total)
	}
	h.pollUntil("everything", p.hasRead(total, false))
	h.pollUntil("the last Sent", func() bool { return c.out.done == total })
}
