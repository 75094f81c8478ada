package loop_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// The tests make every group, socket and peer by the functions of this file, so that all of a test is
// on one network.

// A streamConn is a connection of package net: a *net.TCPConn or a *net.UnixConn.
type streamConn interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// A tcpConn is a streamConn over TCP.
type tcpConn interface {
	streamConn
	SetLinger(sec int) error
	SetKeepAlive(keepalive bool) error
	SetNoDelay(noDelay bool) error
}

var (
	_ tcpConn    = (*net.TCPConn)(nil)
	_ streamConn = (*net.UnixConn)(nil)
	_ tcpConn    = (*simnet.Conn)(nil)
)

// asTCP returns c as a tcpConn, and whether it is one.
func asTCP(c net.Conn) (tcpConn, bool) {
	if c.LocalAddr().Network() != "tcp" {
		return nil, false
	}
	tcp, ok := c.(tcpConn)
	return tcp, ok
}

// waitDelivered waits until all that c has sent is in its peer's receive buffer: until it is
// acknowledged. It must be less than that buffer holds.
func waitDelivered(t testing.TB, c syscall.Conn) {
	t.Helper()
	if runtime.GOOS != "linux" {
		time.Sleep(20 * time.Millisecond) // not every system reports what the peer has acknowledged
		return
	}
	if !testkit.Eventually(func() bool { return unacked(c) == 0 }) {
		t.Fatalf("%d bytes are not acknowledged", unacked(c))
	}
}

// unacked returns how many bytes are sent and not acknowledged, or 0 if the system does not report it.
func unacked(c syscall.Conn) (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = sys.UnackedBytes(sys.FD(fd)) })
	return n
}

// reset resets c, and returns when the reset has arrived. Linux delivers it within the call.
func reset(c tcpConn) {
	c.SetLinger(0)
	c.Close()
	if runtime.GOOS != "linux" {
		time.Sleep(20 * time.Millisecond)
	}
}

// statsTimeout is how long Stats waits for a loop in tests: a busy machine keeps one that is not in a callback from
// answering for longer than users wait. Tests with a blocked loop take this long, too.
const statsTimeout = 2 * time.Second

// newGroup is loop.NewGroup on the network of the test.
func newGroup(t testing.TB, c loop.Config) (*loop.Group, error) {
	if h := hostOf(t); h != nil {
		c.Network = h
	}
	g, err := loop.NewGroup(c)
	if err == nil {
		g.SetStatsTimeout(statsTimeout)
	}
	return g, err
}

// onNet returns the options of a socket of package sock on the network of the test.
func onNet(t testing.TB, options ...sock.Option) []sock.Option {
	if h := hostOf(t); h != nil {
		return append(options[:len(options):len(options)], sock.OnNetwork(h))
	}
	return options
}

// dialNet is net.Dial on the network of the test.
func dialNet(t testing.TB, network, address string) (net.Conn, error) {
	h := hostOf(t)
	switch {
	case h == nil:
		return net.Dial(network, address)
	case strings.HasPrefix(network, "udp"):
		return dialSimulatedUDP(h, network, address)
	}
	c, err := h.Dial(context.Background(), network, address)
	if err != nil {
		return nil, err // not a *simnet.Conn that is nil
	}
	return c, nil
}

// listenNet is net.Listen on the network of the test.
func listenNet(t testing.TB, network, address string) (net.Listener, error) {
	h := hostOf(t)
	if h == nil {
		return net.Listen(network, address)
	}
	ln, err := h.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return ln, nil
}

// serve starts a group that listens with h, and returns it and a connection to it.
func serve(t testing.TB, config loop.Config, h func(*loop.Conn) loop.Handler) (*loop.Group, tcpConn) {
	t.Helper()
	g := group(t, config)
	ln, err := g.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	return g, dial(t, ln.Addr())
}

// dial returns a connection to a, which must be a TCP address. Its deadline is testTimeout, unless time
// is simulated.
func dial(t testing.TB, a net.Addr) tcpConn {
	t.Helper()
	return dialStream(t, a).(tcpConn)
}

// dialStream is dial for TCP and Unix sockets.
func dialStream(t testing.TB, a net.Addr) streamConn {
	t.Helper()
	c, err := dialNet(t, a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if h := hostOf(t); h == nil || !h.bubble {
		c.SetDeadline(time.Now().Add(testTimeout))
	}
	return c.(streamConn)
}
