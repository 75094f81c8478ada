package conformance

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

var connectTests = []test{
	{"to a listener", usual, connectSucceeds},
	{"to a closed port", usual, connectRefused},
	{"to its own address", usual, connectItself},
	{"to no Unix listener", usual, connectUnixRefused},
	{"to a Unix listener until its backlog is full", usual, connectUnixFull},
	{"no upcall while it lasts", usual, connectWaits},
	{"many simultaneously", usual, connectMany},
	{"released before it ends", usual, connectReleased},
	{"released from inside Connected", usual, connectReleasedInside},
	{"sending and receiving from inside Connected", usual, connectTalks},
}

// dial starts to connect to l; Connected reports the result.
func (h *harness) dial(l *sock.TCPListener) *conn {
	h.Helper()
	c := h.conn()
	h.prepareTCP(c, l.Addr())
	h.must(c.connect())
	return c
}

// prepareTCP creates the socket of c, without connecting it.
func (h *harness) prepareTCP(c *conn, to netip.AddrPort) {
	h.Helper()
	stream.PrepareOnly(c)
	err := sock.ConnectTCPInto(&c.Stream.Stream, to, h.on(nil)...)
	h.must(err)
}

// prepareUnix creates the socket of c, without connecting it.
func (h *harness) prepareUnix(c *conn, name string) {
	h.Helper()
	stream.PrepareOnly(c)
	err := sock.ConnectUnixInto(&c.Stream.Stream, name, h.on(nil)...)
	h.must(err)
}

// connect calls Connect for a prepared stream.
func (c *conn) connect() (err error) {
	c.h.call("Connect", func() { err = c.h.drv.Connect(&c.Stream) })
	c.connecting = err == nil
	return err
}

// acceptPeer accepts the other end of c's connection.
func (h *harness) acceptPeer(c *conn, l *sock.TCPListener) *peer {
	h.Helper()
	p := &peer{h: h}
	h.pollUntil("a connection to accept", func() bool {
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
		h.Error("Connected came from inside Connect")
	}
	h.until("Connected", func() bool { return c.connects == 1 })
	h.must(c.connectErr)
	p := h.acceptPeer(c, l)
	h.expectQuiet("Connected was called")
	c.resume()
	p.write(100)
	h.until("100 bytes", func() bool { return c.got == 100 })
	c.send(300_000)
	h.pollUntil("300,000 bytes", p.hasRead(300_000, false))
	p.CloseWrite()
	h.until("the end", c.endsWith(100))
}

func connectRefused(h *harness) {
	for range 3 {
		l := h.listenTCP()
		c := h.conn()
		addr := l.Addr()
		l.Close()
		h.prepareTCP(c, addr)
		if c.connectErr = c.connect(); c.connectErr == nil {
			h.until("Connected", func() bool { return c.connects == 1 })
		}
		h.checkRefused(c, "tcp", addr.String())
		h.expectQuiet("the failure was reported")
		c.release()
		h.awaitReleased(c)
	}
}

// connectItself connects a stream to its own address, as happens when the system chooses the port
// of the destination as the stream's own: no listener is there, so it must fail.
func connectItself(h *harness) {
	l := h.listenTCP()
	self := l.Addr()
	l.Close()
	c := h.conn()
	h.prepareTCP(c, self)
	fd, _ := handle.Of(c).Use()
	e := sys.Bind(fd, stream.Of(c).ConnectTo())
	handle.Of(c).Done()
	if e != 0 {
		h.Fatal(e)
	}
	if c.connectErr = c.connect(); c.connectErr == nil {
		h.until("Connected", func() bool { return c.connects == 1 })
	}
	h.checkRefused(c, "tcp", self.String())
	c.release()
	h.awaitReleased(c)
}

// checkRefused checks the error of connecting to an address where nothing listens.
func (h *harness) checkRefused(c *conn, network, to string) {
	h.Helper()
	if !errors.Is(c.connectErr, syscall.ECONNREFUSED) {
		h.Errorf("connecting to %s, where nothing listens: %v, want ECONNREFUSED", to, c.connectErr)
	}
	h.checkConnectError(c, network, to)
}

// checkConnectError checks the error of a failed connection attempt.
func (h *harness) checkConnectError(c *conn, network, to string) {
	h.Helper()
	var err *net.OpError
	if !errors.As(c.connectErr, &err) || err.Op != "connect" || err.Net != network || err.Addr == nil || err.Addr.String() != to {
		h.Errorf("connecting to %s failed with: %v; want an OpError that names it", to, c.connectErr)
	}
	if again := c.ConnectError(); again == nil || again.Error() != c.connectErr.Error() {
		h.Errorf("Connected reported %v, but ConnectError returns %v", c.connectErr, again)
	}
}

func connectUnixRefused(h *harness) {
	path := h.unixPath()
	c := h.conn()
	h.prepareUnix(c, path)
	if c.connectErr = c.connect(); c.connectErr == nil {
		h.until("Connected", func() bool { return c.connects == 1 })
	}
	h.checkConnectError(c, "unix", path)
	c.release()
	h.awaitReleased(c)
}

// connectUnixFull connects to a listener that does not accept: when its backlog is full, connecting
// fails and does not wait (unix(7)).
func connectUnixFull(h *harness) {
	path := h.unixPath()
	l := h.listenUnix(path, sock.Backlog(1))
	defer l.Close()
	const most = 100
	for range most {
		c := h.conn()
		h.prepareUnix(c, path)
		if c.connectErr = c.connect(); c.connectErr == nil {
			h.until("Connected", func() bool { return c.connects == 1 })
		}
		if c.connectErr != nil {
			h.checkConnectError(c, "unix", path)
			return
		}
	}
	h.Logf("%d connections are in the backlog of a listener with a backlog of 1", most)
}

// unixPath returns a path for a Unix socket, or skips the test if the system has no Unix sockets.
func (h *harness) unixPath() string {
	h.Helper()
	if onWine() {
		h.Skip("skipped under Wine: it has no Unix sockets, and TempDir cannot be removed")
	}
	path := filepath.Join(h.TempDir(), "s")
	l, err := sock.ListenUnix(path+"0", h.on(nil)...)
	if errors.Is(err, errors.ErrUnsupported) {
		h.Skipf("no Unix sockets here: %v", err)
	}
	h.must(err)
	l.Close()
	return path
}

// connectWaits fills a backlog, so that a further connection waits or is refused; which of them
// depends on the system.
func connectWaits(h *harness) {
	l := h.listenTCP(sock.Backlog(1))
	defer l.Close()
	for range 4 {
		h.connect(l.Addr())
	}
	c := h.dial(l)
	h.untilQuiet()
	if c.connects > 0 {
		h.Logf("the system does not let the connection wait: %v", c.connectErr)
		if c.connectErr == nil && c.RemoteNetAddr() == nil {
			h.Error("Connected(nil) for a stream without a peer")
		}
	}
	c.release()
	h.awaitReleased(c)
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
	h.pollUntil("all of them", func() bool {
		for {
			s, err := l.Accept()
			if err != nil {
				break
			}
			h.others = append(h.others, s)
		}
		return done == n
	})
	h.expectQuiet("all are connected")
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
		h.awaitReleased(c)
	}
}

func connectReleasedInside(h *harness) {
	l := h.listenTCP()
	defer l.Close()
	var conns []*conn
	for range 10 {
		c := h.dial(l)
		c.onConnected = func() {
			for i, x := range conns { // the first upcall releases every second stream
				if i%2 == 0 && !x.gone {
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
	h.expectQuiet("all results were reported")
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
	p := h.acceptPeer(c, l)
	p.write(100)
	h.pollUntil("100,000 bytes", p.hasRead(100_000, false))
	h.pollUntil("100 bytes", func() bool { return c.got == 100 })
}
