package conformance

import (
	"errors"
	"sync"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

var acceptTests = []test{
	{"connections before and after Listen", usual, acceptAll},
	{"a backlog longer than a turn", usual, acceptBacklog},
	{"PauseAccept and ResumeAccept", usual, acceptPause},
	{"pausing from inside Accepted", usual, acceptPauseInside},
	{"several listeners", usual, acceptSeveral},
	{"Unlisten", usual, unlisten},
	{"Unlisten from inside Accepted", usual, unlistenInside},
	{"Unlisten with a backlog", usual, unlistenBacklog},
	{"Unlisten of a listener that Listen refused", usual, unlistenRefused},
	{"released from inside Accepted", usual, acceptReleased},
	{"attached from inside Accepted", usual, acceptAttached},
	{"options of the listener", usual, acceptOptions},
	{"options of an adopted listener", usual, acceptAdopted},
	{"options of a Unix listener", usual, acceptUnixOptions},
	{"Unix streams", usual, acceptUnix},
	{"out of file descriptors", usual, acceptNoDescriptors},
}

// listener is a listener that records its upcalls.
type listener struct {
	driver.Listener
	h          *harness
	onAccepted func(c *conn)
	accepted   []*conn
	paused     bool
	closed     bool
	failures   []error
}

func (h *harness) listener(options ...sock.Option) (*listener, *sock.TCPListener) {
	h.Helper()
	s := h.listenTCP(options...)
	return h.listenerOf(s), s
}

func (h *harness) listenerOf(a driver.Acceptor) *listener {
	l := &listener{h: h}
	l.Acceptor, l.Up = a, (*listenerUpcalls)(l)
	h.listeners = append(h.listeners, l)
	return l
}

func (l *listener) listen() {
	l.h.Helper()
	l.h.call("Listen", func() { l.h.must(l.h.drv.Listen(&l.Listener)) })
}

func (l *listener) pause() {
	l.paused = true
	l.h.call("PauseAccept", func() { l.h.drv.PauseAccept(&l.Listener) })
}

func (l *listener) resume() {
	l.paused = false
	l.h.call("ResumeAccept", func() { l.h.drv.ResumeAccept(&l.Listener) })
}

func (l *listener) unlisten() {
	if !l.closed {
		l.closed = true
		l.h.call("Unlisten", func() { l.h.drv.Unlisten(&l.Listener) })
	}
}

type listenerUpcalls listener

func (u *listenerUpcalls) upcall(what string, f func(l *listener)) {
	l := (*listener)(u)
	l.h.upcall(what, func() {
		switch {
		case l.closed:
			l.h.Errorf("%s after Unlisten", what)
		case l.paused && what != "Incoming":
			l.h.Errorf("%s after PauseAccept", what)
		}
		f(l)
	})
}

// Incoming returns a conn that is not in h.conns before Accepted.
func (u *listenerUpcalls) Incoming() (s *driver.Stream) {
	u.upcall("Incoming", func(l *listener) {
		c := &conn{h: l.h}
		c.Up = (*upcalls)(c)
		incoming.Store(&c.Stream, c)
		s = &c.Stream
	})
	return s
}

// incoming maps a stream that Incoming returned to its conn.
var incoming sync.Map

func (u *listenerUpcalls) Accepted(s *driver.Stream) {
	u.upcall("Accepted", func(l *listener) {
		x, ok := incoming.LoadAndDelete(s)
		if !ok {
			l.h.Error("Accepted for a stream that is not from Incoming, or was accepted before")
			return
		}
		c := x.(*conn)
		l.accepted = append(l.accepted, c)
		l.h.conns = append(l.h.conns, c)
		if l.onAccepted != nil {
			l.onAccepted(c)
		}
	})
}

func (u *listenerUpcalls) AcceptFailed(err error) {
	u.upcall("AcceptFailed", func(l *listener) {
		if err == nil || errors.Is(err, sock.ErrWouldBlock) {
			l.h.Errorf("AcceptFailed(%v)", err)
		}
		l.failures = append(l.failures, err)
		l.paused = true
	})
}

func (l *listener) has(n int) func() bool {
	return func() bool {
		if len(l.failures) > 0 {
			l.h.Fatalf("AcceptFailed(%v)", l.failures[0])
		}
		return len(l.accepted) == n
	}
}

// connectPeers connects n peers.
func (h *harness) connectPeers(s *sock.TCPListener, n int) (peers []*peer) {
	h.Helper()
	for range n {
		p := h.connect(s.Addr())
		p.open()
		peers = append(peers, p)
	}
	return peers
}

func acceptAll(h *harness) {
	l, s := h.listener()
	h.connectPeers(s, 3)
	l.listen()
	h.until("the connections made before Listen", l.has(3))
	for i := range 5 {
		h.connectPeers(s, 1)
		h.until("one more", l.has(4+i))
	}
	h.connectPeers(s, 10)
	h.until("ten more", l.has(18))
	h.expectQuiet("all are accepted")
	checkSend(h, l.accepted[0])
}

// checkSend sends on an accepted stream, to check that it works.
func checkSend(h *harness, c *conn) {
	h.Helper()
	c.attach()
	c.resume()
	c.send(100)
	h.until("Sent, if it is to come", func() bool { return !c.out.pending() })
	h.expectQuiet("the peer sends nothing")
	if c.out.done != 100 {
		h.Errorf("an accepted stream has sent %d bytes of 100: %v", c.out.done, c.out.err)
	}
}

func acceptBacklog(h *harness) {
	l, s := h.listener()
	const n = 300
	h.connectPeers(s, n)
	l.listen()
	for !l.has(n)() {
		before := len(l.accepted)
		h.turn(forever)
		if k := len(l.accepted) - before; k > n/2 {
			h.Errorf("%d connections were accepted in one turn", k)
		}
	}
	h.expectQuiet("all are accepted")
}

func acceptPause(h *harness) {
	l, s := h.listener()
	l.listen()
	h.connectPeers(s, 1)
	h.until("one", l.has(1))
	for range 3 {
		before := len(l.accepted)
		l.pause()
		h.untilQuiet()
		h.connectPeers(s, 5)
		h.expectQuiet("accepting is paused")
		l.resume()
		h.until("the waiting connections", l.has(before+5))
		l.pause()
		l.resume()
		h.connectPeers(s, 1)
		h.until("a later connection", l.has(before+6))
	}
}

// acceptPauseInside accepts one connection at a time.
func acceptPauseInside(h *harness) {
	l, s := h.listener()
	l.onAccepted = func(*conn) { l.pause() }
	h.connectPeers(s, 10)
	l.listen()
	for n := 1; ; n++ {
		h.until("one", l.has(n))
		h.expectQuiet("accepting is paused")
		if n == 10 {
			return
		}
		l.resume()
	}
}

func acceptSeveral(h *harness) {
	const n = 5
	var ls [n]*listener
	var ss [n]*sock.TCPListener
	for i := range n {
		ls[i], ss[i] = h.listener()
		ls[i].listen()
	}
	for i := range n {
		h.connectPeers(ss[i], i+1)
	}
	h.until("each listener's own connections", func() bool {
		for i, l := range ls {
			if !l.has(i + 1)() {
				return false
			}
		}
		return true
	})
	ls[1].unlisten()
	ls[3].unlisten()
	ls[1], ss[1] = h.listener() // reuses an index
	ls[1].listen()
	for _, i := range []int{0, 1, 2, 4} {
		h.connectPeers(ss[i], 2)
	}
	h.until("two more of each", func() bool { return ls[0].has(3)() && ls[1].has(2)() && ls[2].has(5)() && ls[4].has(7)() })
}

func unlisten(h *harness) {
	l, s := h.listener()
	l.listen()
	addr := s.Addr()
	h.connectPeers(s, 1)
	h.until("one", l.has(1))
	l.unlisten()
	h.expectQuiet("the listener is closed")
	h.pollUntil("connecting to fail", func() bool {
		p := h.connect(addr)
		h.waitFor("an answer", func() bool { return p.ConnectError() != sock.ErrWouldBlock })
		return p.ConnectError() != nil
	})
	h.expectQuiet("the listener is closed")
	checkSend(h, l.accepted[0])
}

func unlistenInside(h *harness) {
	l, s := h.listener()
	other, o := h.listener()
	l.onAccepted = func(*conn) { l.unlisten(); other.unlisten() }
	other.onAccepted = l.onAccepted
	h.connectPeers(s, 100)
	h.connectPeers(o, 100)
	l.listen()
	other.listen()
	h.until("one", func() bool { return l.closed })
	h.expectQuiet("both listeners are closed")
	if n := len(l.accepted) + len(other.accepted); n != 1 {
		h.Errorf("%d connections were accepted; the first upcall closed the listeners", n)
	}
}

// unlistenBacklog closes a listener whose backlog is longer than what one turn accepts.
func unlistenBacklog(h *harness) {
	for _, resume := range []bool{false, true} {
		l, s := h.listener()
		h.connectPeers(s, 200)
		l.listen()
		h.turn(forever)
		if resume {
			l.pause()
			l.resume()
		}
		l.unlisten()
		h.expectQuiet("the listener is closed")
		again, s := h.listener()
		again.listen()
		h.connectPeers(s, 1)
		h.until("another listener's connection", again.has(1))
	}
}

func unlistenRefused(h *harness) {
	first, s := h.listener()
	first.listen()
	l, gone := h.listener()
	h.must(gone.Close())
	var err error
	h.call("Listen", func() { err = h.drv.Listen(&l.Listener) })
	if err == nil {
		h.until("AcceptFailed", func() bool { return len(l.failures) > 0 })
	}
	l.unlisten()
	h.expectQuiet("there is no connection")
	h.connectPeers(s, 2)
	h.until("the other listener's connections", first.has(2))
	one, s1 := h.listener() // these two must not share an index
	one.listen()
	two, s2 := h.listener()
	two.listen()
	h.connectPeers(s1, 2)
	h.until("the next listener's connections", one.has(2))
	h.connectPeers(s2, 2)
	h.until("the connections of the one after it", two.has(2))
}

func acceptReleased(h *harness) {
	l, s := h.listener()
	l.onAccepted = func(c *conn) { c.release() }
	l.listen()
	peers := h.connectPeers(s, 20)
	h.until("all", l.has(20))
	h.awaitReleased(l.accepted...)
	for _, p := range peers {
		p.awaitEnd("the end of a released stream")
	}
}

func acceptAttached(h *harness) {
	l, s := h.listener()
	l.onAccepted = func(c *conn) {
		c.attach()
		c.resume()
	}
	l.listen()
	peers := h.connectPeers(s, 20)
	for i, p := range peers {
		p.write(10 + i)
	}
	h.until("all bytes of all peers", func() bool {
		total := 0
		for _, c := range l.accepted {
			total += c.got
		}
		return total == 10*20+190
	})
}

func acceptUnix(h *harness) {
	path := h.unixPath()
	l := h.listenerOf(h.listenUnix(path))
	l.listen()
	c := h.conn()
	h.prepareUnix(c, path)
	h.must(c.connect())
	h.until("both ends of the connection", func() bool { return l.has(1)() && c.connects == 1 })
	h.must(c.connectErr)
	const total = 1 << 20
	d := l.accepted[0]
	d.attach()
	d.resume()
	c.resume()
	c.send(total)
	d.send(total)
	h.until("everything, both ways", func() bool { return c.got == total && d.got == total })
	h.until("all Sents", func() bool { return c.out.done == total && d.out.done == total })
	h.must(c.CloseWrite())
	h.until("the end", d.endsWith(total))
	d.release()
	h.until("the other end", func() bool { return c.ended != nil && d.releases == 1 })
}

// acceptNoDescriptors makes the process run out of file descriptors, and restores the limit.
// Accepting is paused before, because io_uring uses the limit of when the accept was started.
func acceptNoDescriptors(h *harness) {
	l, s := h.listener()
	l.listen()
	h.turn(0)
	l.pause()
	h.untilQuiet()
	h.connectPeers(s, 5)
	restore := h.machine.LimitDescriptors(h, 0)
	defer restore()
	l.resume()
	h.until("AcceptFailed", func() bool { return len(l.failures) == 1 })
	h.expectQuiet("accepting is paused")
	l.failures = nil
	l.resume()
	h.until("AcceptFailed again", func() bool { return len(l.failures) == 1 })
	restore()
	h.expectQuiet("accepting is paused")
	l.failures = nil
	l.resume()
	h.until("the waiting connections", l.has(5))
	h.connectPeers(s, 1)
	h.until("one more", l.has(6))
}
