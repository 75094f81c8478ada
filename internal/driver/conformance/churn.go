package conformance

import (
	"math/rand/v2"
	"runtime"
	"weak"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

var churnTests = []test{
	{"a thousand streams come and go", small, churnStreams},
	{"released in the batch that has their events", small, closedInBatch},
	{"ended objects are garbage", usual, nothingKept},
}

// churnStreams: streams are accepted, used and released in bursts; either side ends them.
func churnStreams(h *harness) {
	random := rand.New(rand.NewPCG(3, 4))
	l, s := h.listener()
	l.onAccepted = func(c *conn) {
		c.onReceived = func(b []byte) bool {
			if random.IntN(4) == 0 {
				c.release()
				return false
			}
			c.send(c.got)
			return true
		}
		c.onEnded = func() {
			if !c.gone {
				c.release()
			}
		}
		c.attach()
		c.resume()
	}
	l.listen()
	for range 20 {
		accepted := len(l.accepted)
		peers := h.connectPeers(s, 50)
		for i, p := range peers {
			p.push(1 + random.IntN(20_000))
			switch i % 3 {
			case 0:
				p.CloseWrite()
			case 1:
				p.reset()
			}
		}
		h.pollUntil("a burst, without those that were reset in the backlog", func() bool {
			if len(l.failures) > 0 {
				if !onWine() { // on Wine, accepting a reset connection fails
					h.Fatalf("AcceptFailed(%v) after %d connections", l.failures[0], len(l.accepted))
				}
				l.failures = nil
				l.resume()
			}
			return len(l.accepted) >= accepted+30
		})
		for i, p := range peers {
			if i%3 == 2 {
				p.Close()
			}
		}
	}
	h.pollUntil("the end of everything", func() bool {
		for _, c := range l.accepted {
			if c.releases == 0 {
				return false
			}
		}
		return true
	})
	h.expectQuiet("all streams are released")
}

// closedInBatch: each upcall releases another stream and attaches a new one, which reuses its index,
// while both have events in the same batch.
func closedInBatch(h *harness) {
	random := rand.New(rand.NewPCG(5, 6))
	const live, fresh = 50, 500
	var conns, spare []*conn
	replaceOne := func() {
		if len(spare) == 0 {
			return
		}
		i := random.IntN(len(conns))
		if c := conns[i]; !c.gone {
			c.release()
		}
		c := spare[len(spare)-1]
		spare = spare[:len(spare)-1]
		c.attach()
		c.resume()
		conns[i] = c
	}
	make := func() *conn {
		c, _ := h.pair()
		c.onReceived = func([]byte) bool {
			replaceOne()
			return !c.gone
		}
		return c
	}
	for range live {
		c := make()
		c.attach()
		c.resume()
		conns = append(conns, c)
	}
	for range fresh {
		spare = append(spare, make())
	}
	for len(spare) > 0 {
		for _, c := range conns {
			if !c.gone {
				c.p.push(1 + random.IntN(5000))
			}
		}
		h.turn(forever)
	}
	h.until("the bytes sent to the remaining streams", func() bool {
		for _, c := range conns {
			if !c.gone && c.got < c.p.wrote {
				return false
			}
		}
		return true
	})
}

// nothingKept: streams, listeners and watches that have ended, or were refused, can be garbage
// collected.
func nothingKept(h *harness) {
	var streams []weak.Pointer[conn]
	var others []func() bool // each reports whether an object was collected
	released := 0
	stream := func(closed bool) {
		kept, _ := h.pair()
		h.conns = h.conns[:len(h.conns)-1]
		kept.p = nil
		kept.onReleased = func() { released++ }
		if closed {
			h.must(kept.Close())
		}
		h.call("Attach", func() { h.drv.Attach(&kept.Stream) })
		kept.resume()
		kept.release()
		streams = append(streams, weak.Make(kept))
	}
	for i := range 20 {
		stream(i%2 == 1)
		l, _ := h.listener()
		l.listen()
		l.unlisten()
		h.listeners = h.listeners[:len(h.listeners)-1]
		l.Acceptor = (*sock.TCPListener)(nil)
		lp := weak.Make(&l.Listener)
		w := h.watch()
		w.watch()
		w.unwatch()
		h.watches = h.watches[:len(h.watches)-1]
		wp := weak.Make(&w.Watch)
		others = append(others, func() bool { return lp.Value() == nil }, func() bool { return wp.Value() == nil })
	}
	h.until("Released of all", func() bool { return released == len(streams) })
	h.untilQuiet()
	// The driver may keep a bounded number for reuse, or in scratch memory.
	const few = 4
	left := 0
	if !testkit.Eventually(func() bool {
		runtime.GC()
		left = 0
		for _, p := range streams {
			if p.Value() != nil {
				left++
			}
		}
		for _, gone := range others {
			if !gone() {
				left++
			}
		}
		return left <= few
	}) {
		h.Errorf("the driver keeps %d of %d ended objects reachable", left, len(streams)+len(others))
	}
}
