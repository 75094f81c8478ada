package conformance

import (
	"errors"
	"syscall"

	"github.com/pollux-io/pollux/sock"
)

var connectTests = []test{
	{"to a listener", usual, connectSucceeds},
	{"to nobody", usual, connectRefused},
	{"nothing while it lasts", usual, connectWaits},
	{"many at once", usual, connectMany},
	{"released before it ends", usual, connectReleased},
	{"released from inside Connected", usual, connectReleasedInside},
	{"sent and received from inside Connected", usual, connectTalks},
}

// dial begins to connect, and has the driver tell how it ended.
func (h *harness) dial(l *sock.TCPListener) *conn {
	h.Helper()
	c := h.conn()
	h.must(sock.ConnectTCPInto(&c.Stream.Stream, l.Addr()))
	c.attach()
	c.connecting = true
	h.call("Connecting", func() { h.drv.Connecting(&c.Stream) })
	return c
}

// meet accepts the other end of what dial began.
func (h *harness) meet(c *conn, l *sock.TCPListener) *peer {
	h.Helper()
	p := &peer{h: h}
	h.meanwhile("a connection to accept", func() bool {
		s, err := l.Accept()
		if err == sock.ErrWouldBlock {
			return false
		}
		h.must(err)
		p.TCPStream = s
		h.others = append(h.others, s)
		return true
	})
	c.p = p
	return p
}

func connectSucceeds(h *harness) {
	l := h.listenTCP()
	defer l.Close()
	c := h.dial(l)
	if c.connects > 0 {
		h.Error("Connected came from inside Connecting")
	}
	h.until("Connected", func() bool { return c.connects == 1 })
	h.must(c.connectErr)
	p := h.meet(c, l)
	h.quiet("it was told that it is connected")
	c.resume()
	p.write(100)
	h.until("100 bytes", func() bool { return c.got == 100 })
	c.send(300_000)
	h.meanwhile("300,000 bytes", p.wants(300_000, false))
	p.CloseWrite()
	h.until("the end", c.endsWith(100))
}

func connectRefused(h *harness) {
	for range 3 {
		l := h.listenTCP()
		c := h.conn()
		addr := l.Addr()
		l.Close()
		if err := sock.ConnectTCPInto(&c.Stream.Stream, addr); err != nil {
			h.Skipf("the system refuses at once: %v", err)
		}
		c.attach()
		c.connecting = true
		h.call("Connecting", func() { h.drv.Connecting(&c.Stream) })
		h.until("Connected", func() bool { return c.connects == 1 })
		if c.connectErr == nil {
			h.Error("connected to nobody")
		} else if !errors.Is(c.connectErr, syscall.ECONNREFUSED) {
			h.Logf("the error is %v", c.connectErr)
		}
		h.quiet("the failure was told")
		c.release()
		h.isReleased(c)
	}
}

// connectWaits fills a backlog, so that what connects then waits, or is refused, as
// the system has it.
func connectWaits(h *harness) {
	l := h.listenTCP(sock.Backlog(1))
	defer l.Close()
	for range 4 {
		h.connect(l.Addr())
	}
	c := h.dial(l)
	h.calm()
	if c.connects > 0 {
		h.Logf("the system does not let it wait: %v", c.connectErr)
		if c.connectErr == nil && c.RemoteNetAddr() == nil {
			h.Error("Connected(nil) of a stream that has no peer")
		}
	}
	c.release()
	h.isReleased(c)
}

func connectMany(h *harness) {
	const n = 100
	l := h.listenTCP()
	defer l.Close()
	done := 0
	for range n {
		c := h.dial(l)
		c.onConnected = func() { done++; h.check(c.connectErr) }
	}
	h.meanwhile("all of them", func() bool {
		for {
			s, err := l.Accept()
			if err != nil {
				break
			}
			h.others = append(h.others, s)
		}
		return done == n
	})
	h.quiet("all are connected")
}

func (h *harness) check(err error) {
	h.Helper()
	if err != nil {
		h.Error(err)
	}
}

func connectReleased(h *harness) {
	l := h.listenTCP()
	defer l.Close()
	for range 20 {
		c := h.dial(l)
		c.release()
		h.isReleased(c)
	}
}

func connectReleasedInside(h *harness) {
	l := h.listenTCP()
	defer l.Close()
	var conns []*conn
	for range 10 {
		c := h.dial(l)
		c.onConnected = func() {
			for i, x := range conns { // whoever is told first ends every second one
				if i%2 == 0 && !x.given {
					x.release()
				}
			}
		}
		conns = append(conns, c)
	}
	h.until("Connected or Released of each", func() bool {
		for i, c := range conns {
			if c.connects == 0 && c.releases == 0 || i%2 == 0 && c.releases == 0 {
				return false
			}
		}
		return true
	})
	h.quiet("all was told")
}

func connectTalks(h *harness) {
	l := h.listenTCP()
	defer l.Close()
	c := h.dial(l)
	c.onConnected = func() {
		c.resume()
		c.send(100_000)
	}
	h.until("Connected", func() bool { return c.connects == 1 })
	p := h.meet(c, l)
	p.write(100)
	h.meanwhile("100,000 bytes", p.wants(100_000, false))
	h.meanwhile("100 bytes", func() bool { return c.got == 100 })
}
