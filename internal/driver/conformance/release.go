package conformance

import "runtime"

var releaseTests = []test{
	{"an idle stream", usual, releaseIdle},
	{"with everything in flight", small, releaseInFlight},
	{"bytes sent before still arrive", usual, releaseAfterSend},
	{"during a send", usual, releaseMidSend},
	{"from inside each upcall of the stream", small, releaseSelf},
	{"of other streams in the same batch", small, releaseNeighbours},
	{"of a stream that was never attached", usual, releaseUnattached},
	{"right after Attach", usual, releaseAfterAttach},
	{"of streams that have used up their budget", small, releaseOverBudget},
	{"new streams from inside Released", usual, newInReleased},
	{"a chain of releases does not keep Turn", usual, releaseChain},
}

// awaitReleased waits for Released of conns, and checks that no upcall follows.
func (h *harness) awaitReleased(conns ...*conn) {
	h.Helper()
	h.until("Released", func() bool {
		for _, c := range conns {
			if c.releases == 0 {
				return false
			}
		}
		return true
	})
	h.expectQuiet("it was released")
}

func (p *peer) awaitEnd(what string) {
	p.h.Helper()
	p.h.pollUntil(what, func() bool { p.pull(all); return p.ended != nil })
}

func releaseIdle(h *harness) {
	for _, resumed := range []bool{true, false} {
		c, p := h.pair()
		c.attach()
		if resumed {
			c.resume()
		}
		h.turn(0)
		c.release()
		h.awaitReleased(c)
		p.awaitEnd("the end of a released stream")
	}
}

// releaseInFlight releases a stream with a receive, unread bytes and a send in flight.
func releaseInFlight(h *harness) {
	for turns := range 4 {
		c, p := h.smallBufferPair()
		c.attach()
		c.resume()
		c.send(4 << 20)
		p.push(1 << 20)
		for range turns {
			h.turn(0)
		}
		p.push(1 << 20)
		c.release()
		p.Write(text[p.wrote : p.wrote+1000]) // may already fail
		h.awaitReleased(c)
		p.awaitEnd("the end of a released stream")
	}
}

func releaseAfterSend(h *harness) {
	c, p := h.pair()
	c.attach()
	c.send(100_000)
	h.pollUntil("100,000 bytes sent", func() bool { p.pull(50_000); return c.out.done == 100_000 })
	c.release()
	h.awaitReleased(c)
	h.pollUntil("the bytes sent, and EOF", p.hasRead(100_000, true))
}

// releaseMidSend: the bytes that the peer receives are not corrupted, whenever the memory is reused, and
// they are as many as Send and Sent have reported.
func releaseMidSend(h *harness) {
	for turns := range 4 {
		for _, size := range []int{1000, 4 << 20} {
			c, p := h.smallBufferPair()
			c.attach()
			c.send(size)
			for range turns {
				h.turn(0)
			}
			c.release()
			p.pull(1000)
			h.awaitReleased(c)
			p.awaitEnd("the end of a released stream")
			if runtime.GOOS != "windows" && p.read != c.out.done { // there, a cancelled send may have sent a part
				h.Errorf("after %d turns, the peer received %d bytes; the driver reported %d of %d", turns, p.read, c.out.done, size)
			}
		}
	}
}

func releaseSelf(h *harness) {
	inside := map[string]func() (*conn, func()){
		"Received": func() (*conn, func()) {
			c, p := h.pair()
			c.onReceived = func([]byte) bool { c.release(); return true }
			return c, func() { c.resume(); p.push(100_000) }
		},
		"Received that stops": func() (*conn, func()) {
			c, p := h.pair()
			c.onReceived = func([]byte) bool { c.release(); return false }
			return c, func() { c.resume(); p.push(100_000); p.Close() }
		},
		"ReceiveEnded": func() (*conn, func()) {
			c, p := h.pair()
			c.onEnded = c.release
			return c, func() { c.resume(); p.Close() }
		},
		"ReceiveEnded by a reset": func() (*conn, func()) {
			c, p := h.smallBufferPair()
			c.onEnded = c.release
			return c, func() { c.send(4 << 20); c.resume(); p.reset() }
		},
		"Sent": func() (*conn, func()) {
			c, p := h.smallBufferPair()
			c.onSent = c.release
			return c, func() { c.send(4 << 20); c.resume(); p.push(100_000); p.pull(all) }
		},
	}
	for where, make := range inside {
		c, begin := make()
		c.attach()
		begin()
		h.pollUntil("Release in "+where, func() bool {
			if c.p.TCPStream != nil && where == "Sent" {
				c.p.pull(all)
			}
			return c.gone
		})
		h.awaitReleased(c)
	}
}

// releaseNeighbours: of 16 streams with events in one batch, the first upcall releases every second
// stream, maybe its own too, and attaches a new stream, which reuses an index.
func releaseNeighbours(h *harness) {
	triggers := map[string]func(c *conn){
		"Received":     func(c *conn) { c.p.write(100) },
		"ReceiveEnded": func(c *conn) { c.p.Close() },
		"Sent":         func(c *conn) { c.p.pull(all) },
		"everything":   func(c *conn) { c.p.push(100_000); c.p.pull(all); c.p.CloseWrite() },
	}
	for what, trigger := range triggers {
		h.releaseNeighboursOn(what, trigger)
	}
}

func (h *harness) releaseNeighboursOn(what string, trigger func(c *conn)) {
	var conns []*conn
	fresh, q := h.pair()
	freshAttached := false
	acted := false
	act := func() {
		if acted {
			return
		}
		acted = true
		for i, c := range conns {
			if i%2 == 0 {
				c.release()
			}
		}
		fresh.attach()
		fresh.resume()
		freshAttached = true
	}
	for range 16 {
		c, _ := h.smallBufferPair()
		c.onReceived = func([]byte) bool { act(); return c.receiving }
		c.onEnded = act
		c.attach()
		c.resume()
		if what != "Received" && what != "ReceiveEnded" {
			c.send(1 << 20)
		}
		conns = append(conns, c)
	}
	h.untilQuiet()
	for _, c := range conns {
		c.onSent = func() {
			if act(); !c.gone {
				c.continueSend()
			}
		}
	}
	for _, c := range conns {
		trigger(c)
	}
	h.pollUntil(what+" of the first", func() bool {
		if !acted {
			for _, c := range conns {
				c.p.pull(all)
			}
		}
		return acted
	})
	h.until("Released of every second", func() bool {
		for i, c := range conns {
			if (c.releases > 0) != (i%2 == 0) {
				return false
			}
		}
		return freshAttached
	})
	q.write(100)
	h.until("the bytes sent to the new stream", func() bool { return fresh.got == 100 })
	for i, c := range conns {
		if i%2 == 1 && what != "Sent" && what != "ReceiveEnded" {
			h.until("the bytes sent to the other streams", func() bool { return c.got == c.p.wrote })
		}
		if !c.gone {
			c.release()
		}
	}
	fresh.release()
	h.awaitReleased(append(conns, fresh)...)
}

// releaseUnattached: releasing a stream that has no index must not affect the stream with index 0.
func releaseUnattached(h *harness) {
	first, p := h.pair()
	first.attach()
	first.resume()
	second, q := h.pair()
	second.attach()
	second.resume()
	third, r := h.pair()
	third.release()
	h.awaitReleased(third)
	r.awaitEnd("the end of a released stream")
	fresh, s := h.pair()
	fresh.attach()
	fresh.resume()
	for _, x := range []*peer{p, q, s} {
		x.write(10)
	}
	h.until("the bytes sent to the other streams", func() bool { return first.got == 10 && second.got == 10 && fresh.got == 10 })
}

func releaseAfterAttach(h *harness) {
	for _, n := range []int{0, 100} {
		c, p := h.pair()
		p.write(n)
		c.attach()
		c.resume()
		c.release()
		if c.releases > 0 {
			h.Error("Released came from inside Release")
		}
		h.awaitReleased(c)
		p.awaitEnd("the end of a released stream")
	}
}

// releaseOverBudget releases streams that have used up their budget.
func releaseOverBudget(h *harness) {
	var conns []*conn
	for range 5 {
		c, p := h.pair()
		p.push(1 << 20)
		c.attach()
		c.resume()
		conns = append(conns, c)
	}
	for i, c := range conns {
		h.turn(forever)
		h.turn(forever)
		c.release()
		if i == 2 {
			conns[3].pause()
		}
	}
	h.awaitReleased(conns...)
}

func newInReleased(h *harness) {
	const n = 20
	var conns []*conn
	for range n {
		c, p := h.pair()
		p.write(50)
		conns = append(conns, c)
	}
	for i, c := range conns {
		c.onReleased = func() {
			if i+1 < n {
				conns[i+1].attach()
				conns[i+1].resume()
			}
		}
		c.onReceived = func([]byte) bool { c.release(); return true }
	}
	conns[0].attach()
	conns[0].resume()
	h.awaitReleased(conns...)
}

// releaseChain: each Released releases the next stream. One turn may make a bounded number of these
// upcalls, but not all of them; the bound is the driver's.
func releaseChain(h *harness) {
	const n = 400
	var conns []*conn
	released := 0
	for i := range n {
		c, _ := h.pair()
		c.onReleased = func() {
			if released++; i+1 < n {
				conns[i+1].release()
			}
		}
		conns = append(conns, c)
	}
	conns[0].release()
	h.turn(forever)
	if released == n {
		h.Errorf("one turn made %d calls of Released, each caused by the one before", released)
	}
	h.until("the rest", func() bool { return released == n })
}
