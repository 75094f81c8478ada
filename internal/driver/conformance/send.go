package conformance

var sendTests = []test{
	{"small sends", usual, smallSends},
	{"nothing", usual, sendNothing},
	{"many bytes through tiny buffers", usual, tinyBuffers},
	{"a reader that stalls, then reads on", usual, stalledReader},
	{"many slices", usual, manySlices},
	{"both ways at once", small, fullDuplex},
	{"many that are blocked at once", usual, manyBlocked},
	{"while receiving is paused, after the peer's end", usual, sendAfterEnd},
	{"from inside every upcall", usual, sendInside},
	{"the peer resets in mid-send", usual, resetSending},
	{"to a peer that is gone", usual, sendToGone},
}

func smallSends(h *harness) {
	c, p := h.pair()
	c.attach()
	for n := range 200 {
		c.send((n + 1) * 50)
		h.meanwhile("a small send", p.wants((n+1)*50, false))
	}
	h.quiet("everything was sent")
}

// sendNothing owes nothing.
func sendNothing(h *harness) {
	c, p := h.pair()
	c.attach()
	for _, bufs := range [][][]byte{{{}}, {nil, {}}, {nil}} {
		h.call("Send", func() {
			if n, err := h.drv.Send(&c.Stream, bufs); n != 0 || err != nil {
				h.Errorf("Send of nothing = %d, %v", n, err)
			}
		})
		h.quiet("nothing is to be sent")
	}
	c.send(100)
	h.meanwhile("something", p.wants(100, false))
}

func tinyBuffers(h *harness) {
	c, p := h.tiny()
	c.attach()
	const total = 1 << 20
	c.send(total)
	h.meanwhile("everything", p.wants(total, false))
	h.meanwhile("the last Sent", func() bool { return c.out.done == total })
	h.must(c.CloseWrite())
	h.meanwhile("the end", p.wants(total, true))
	h.calm()
}

func stalledReader(h *harness) {
	c, p := h.tiny()
	c.attach()
	const total = 2 << 20
	c.send(total)
	for range 3 {
		h.calm()
		if !c.out.pending() {
			h.Fatalf("%d bytes were taken that nobody reads", c.out.done)
		}
		start := c.out.done
		// Not until: the system may go on by itself, and the driver tell of it only at
		// the end of what it was given.
		h.meanwhile("room for more", func() bool {
			p.pull(64 << 10)
			return c.out.done > start+100<<10
		})
	}
	h.meanwhile("everything", p.wants(total, false))
	h.meanwhile("the last Sent", func() bool { return c.out.done == total })
	h.quiet("everything was sent")
}

// manySlices sends more slices at once than a system call takes.
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
		var owed bool
		c.out.held = bufs
		c.onSent = func() { owed = false }
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
			owed = true
			c.out.held, c.out.owed, c.out.done = [][]byte{}, total-sent, 0
			h.meanwhile("Sent", func() bool { p.pull(all); return !owed })
			h.must(c.out.err)
			sent += c.out.done
		}
		c.out.held = nil
		h.meanwhile("all slices", p.wants(total, false))
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
	h.meanwhile("everything, both ways", func() bool {
		p.push(min(100_000, total-p.wrote))
		p.pull(50_000)
		return c.got == total && p.read == total && c.out.done == total
	})
	h.quiet("everything was sent")
}

func manyBlocked(h *harness) {
	const n, total = 20, 100 << 10
	var conns []*conn
	for range n {
		c, _ := h.tiny()
		c.attach()
		c.resume()
		c.send(total)
		conns = append(conns, c)
	}
	h.meanwhile("everything, from everybody", func() bool {
		done := 0
		for _, c := range conns {
			if c.p.wants(total, false)() && c.out.done == total {
				done++
			}
		}
		return done == n
	})
	h.quiet("everything was sent")
}

func sendAfterEnd(h *harness) {
	c, p := h.tiny()
	c.attach()
	c.resume()
	const total = 200 << 10
	c.send(total)
	p.CloseWrite()
	h.until("the end", c.endsWith(0))
	c.pause()
	h.meanwhile("what is sent after the end", p.wants(total, false))
	h.meanwhile("the last Sent", func() bool { return c.out.done == total })
	h.quiet("everything was sent")
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
	h.meanwhile("what Received sent", func() bool { return p.wants(goal, false)() && !c.out.pending() })
	p.CloseWrite()
	h.until("the end", c.endsWith(1))
	h.meanwhile("what ReceiveEnded sent", p.wants(goal, false))
}

// resetSending: the error is told by Send or by Sent, and is the end of it.
func resetSending(h *harness) {
	for _, receiving := range []bool{true, false} {
		c, p := h.tiny()
		c.attach()
		if receiving {
			c.resume()
		}
		c.send(4 << 20)
		h.calm()
		if !c.out.pending() {
			h.Fatal("4 MiB were taken that nobody reads")
		}
		p.reset()
		h.until("the error of Send or Sent", func() bool { return c.out.err != nil })
		if receiving {
			h.until("the end of receiving", func() bool { return c.ended != nil })
		}
		h.calm() // Failed may come as well
		h.quiet("the reset was told")
	}
}

func sendToGone(h *harness) {
	c, p := h.pair()
	c.attach()
	p.reset()
	h.meanwhile("an error", func() bool {
		if c.out.err == nil && !c.out.pending() {
			c.send(c.out.done + 1)
		}
		return c.out.err != nil
	})
	h.calm()
	if c.failed != nil || !onWine() { // there Failed may come late
		h.quiet("the error was told")
	}
}
