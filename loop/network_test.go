package loop_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// worlds are where sockets may be: nil is the operating system.
type world struct {
	name    string
	network sock.Network
}

// newWorlds returns the operating system, two hosts of one network, and a host of another network.
func newWorlds(t *testing.T) []world {
	n := looptest.New(t, looptest.Config{})
	return []world{
		{"the operating system", nil},
		{"a host", n.Host()},
		{"another host", n.Host()},
		{"a host of another network", looptest.New(t, looptest.Config{}).Host()},
	}
}

// A group refuses sockets that are not on its network, by an error that reports what to do; those that it
// would own are closed, and the others stay open.
func TestSocketOfAnotherNetwork(t *testing.T) {
	testkit.CheckLeaks(t)
	worlds := newWorlds(t)
	for _, of := range worlds {
		g, err := loop.NewGroup(loop.Config{Network: of.network, Loops: 1, Logger: quiet()})
		noError(t, err)
		t.Cleanup(func() { g.Shutdown(canceled()) })
		for _, w := range worlds {
			for what, give := range gives {
				t.Run(what+" on "+w.name+" to a group on "+of.name, func(t *testing.T) {
					give.check(t, g, w, of.network == w.network)
				})
			}
		}
	}
}

// A giving gives a socket to a group.
type giving struct {
	do   func(t *testing.T, g *loop.Group, n sock.Network) (closed func() bool, err error)
	owns bool // even if there is an error
}

func (x giving) check(t *testing.T, g *loop.Group, w world, fits bool) {
	closed, err := x.do(t, g, w.network)
	if fits {
		noError(t, err)
		return
	}
	var op *net.OpError
	if !errors.Is(err, loop.ErrBadArgument) {
		t.Fatalf("got %v, want ErrBadArgument", err)
	}
	if x.owns && !errors.As(err, &op) {
		t.Errorf("got %v, want a *net.OpError", err)
	}
	want := "sock.OnNetwork(Config.Network)"
	if g.Config().Network == nil {
		want = "Config.Network is its host"
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, which does not contain %q", err, want)
	}
	if closed() != x.owns {
		t.Errorf("the socket is closed: %v, want %v", closed(), x.owns)
	}
}

var gives = map[string]giving{
	"Serve": {func(t *testing.T, g *loop.Group, n sock.Network) (func() bool, error) {
		l := opened[*sock.TCPListener](t)(sock.ListenTCP(loopback, sock.OnNetwork(n)))
		_, err := g.Serve(l, func(*loop.Conn) loop.Handler { return echo{} })
		return func() bool { return errors.Is(l.SetOptions(sock.NoDelay(true)), sock.ErrClosed) }, err
	}, true},
	"ServeUnix": {func(t *testing.T, g *loop.Group, n sock.Network) (func() bool, error) {
		if n == nil {
			testkit.SkipOnWine(t, "it has no Unix sockets")
		}
		l := opened[*sock.UnixListener](t)(sock.ListenUnix(testkit.TempDir(t)+"/s", sock.OnNetwork(n)))
		_, err := g.ServeUnix(l, func(*loop.Conn) loop.Handler { return echo{} })
		return func() bool { return errors.Is(l.SetOptions(sock.ReadBuffer(5000)), sock.ErrClosed) }, err
	}, true},
	"ServePacket": {func(t *testing.T, g *loop.Group, n sock.Network) (func() bool, error) {
		u := opened[*sock.UDPSocket](t)(sock.ListenUDP(loopback, sock.OnNetwork(n)))
		_, err := g.ServePacket(u, func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
		return func() bool { return errors.Is(u.SetOptions(sock.ReadBuffer(5000)), sock.ErrClosed) }, err
	}, true},
	"AttachStream": {func(t *testing.T, g *loop.Group, n sock.Network) (func() bool, error) {
		s := &connectedTo(t, n).Stream
		err := g.AttachStream(s, nil, func(*loop.Conn) loop.Handler { return echo{} })
		return isClosed(s), err
	}, false},
	"Attach": {func(t *testing.T, g *loop.Group, n sock.Network) (func() bool, error) {
		s := &connectedTo(t, n).Stream
		c, err := s.NetConn()
		if n == nil && errors.Is(err, errors.ErrUnsupported) {
			t.Skipf("package net cannot adopt a socket here: %v", err)
		}
		noError(t, err)
		t.Cleanup(func() { c.Close() })
		err = g.Attach(c, nil, func(*loop.Conn) loop.Handler { return echo{} })
		return func() bool { return c.SetDeadline(time.Time{}) != nil }, err
	}, false},
	"Watch": {func(t *testing.T, g *loop.Group, n sock.Network) (func() bool, error) {
		u := opened[*sock.UDPSocket](t)(sock.ListenUDP(loopback, sock.OnNetwork(n)))
		_, err := g.Loops()[0].Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
		return func() bool { return errors.Is(u.SetOptions(sock.ReadBuffer(5000)), sock.ErrClosed) }, err
	}, false},
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// canceled returns a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func isClosed(s *sock.Stream) func() bool {
	return func() bool {
		_, err := s.ReadBuffer()
		return errors.Is(err, sock.ErrClosed)
	}
}

// connectedTo returns a TCP stream on a network that is connected.
func connectedTo(t *testing.T, n sock.Network) *sock.TCPStream {
	t.Helper()
	l := opened[*sock.TCPListener](t)(sock.ListenTCP(loopback, sock.OnNetwork(n)))
	s := opened[*sock.TCPStream](t)(sock.ConnectTCP(l.Addr(), sock.OnNetwork(n)))
	if !testkit.Eventually(func() bool { return !errors.Is(s.ConnectError(), sock.ErrWouldBlock) }) {
		t.Fatal("the stream is not connected")
	}
	noError(t, s.ConnectError())
	return s
}

// A Poll does not take sockets of a simulated network.
func TestPollRefusesSimulatedSocket(t *testing.T) {
	h := looptest.New(t, looptest.Config{}).Host()
	q, err := pollux.New()
	if errors.Is(err, pollux.ErrBackend) {
		t.Skip("skipped: ", err)
	}
	noError(t, err)
	defer q.Close()
	u := opened[*sock.UDPSocket](t)(sock.ListenUDP(loopback, sock.OnNetwork(h)))
	err = q.Register(u, 1, pollux.Readable, pollux.Edge)
	if !errors.Is(err, pollux.ErrNotPollable) || !strings.Contains(err.Error(), "a loop on that network") {
		t.Errorf("Register: got %v, want ErrNotPollable that names loops", err)
	}
}

// Backend is "sim" with Network and only then, and POLLUX_BACKEND has no effect with it.
func TestBackendOfNetwork(t *testing.T) {
	h := looptest.New(t, looptest.Config{}).Host()
	for name, want := range map[string]string{"": "", "sim": "", "epoll": "Backend is \"epoll\"", "uring": "Backend is \"uring\""} {
		g, err := loop.NewGroup(loop.Config{Network: h, Backend: name})
		if want != "" {
			if g != nil || !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), want) {
				t.Errorf("Backend %q with Network: got %v, want ErrBadArgument that contains %q", name, err, want)
			}
			continue
		}
		noError(t, err)
		if c := g.Config(); g.Backend() != "sim" || c.Backend != "sim" || len(g.Loops()) != 1 || c.SlowCallback != 0 {
			t.Errorf("Backend %q with Network: the group has %s, %d loops, and %+v", name, g.Backend(), len(g.Loops()), c)
		}
		noError(t, g.Shutdown(context.Background()))
	}
	if _, err := loop.NewGroup(loop.Config{Backend: "sim"}); !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), "Network") {
		t.Errorf("Backend sim without Network: got %v, want ErrBadArgument that names Network", err)
	}
	for _, name := range []string{"carrier-pigeon", "poll"} {
		t.Setenv(pollux.BackendEnv, name)
		g, err := loop.NewGroup(loop.Config{Network: h})
		noError(t, err)
		if g.Backend() != "sim" {
			t.Errorf("%s=%s with Network: the backend is %s", pollux.BackendEnv, name, g.Backend())
		}
		noError(t, g.Shutdown(context.Background()))
	}
	os.Setenv(pollux.BackendEnv, "sim") // restored by Setenv
	if _, err := loop.NewGroup(loop.Config{}); !errors.Is(err, pollux.ErrBackend) {
		t.Errorf("%s=sim without Network: got %v, want ErrBackend", pollux.BackendEnv, err)
	}
}

// A host that is a nil pointer or the zero value is an error, not the operating system's network.
func TestBadNetwork(t *testing.T) {
	for want, n := range map[string]sock.Network{"a nil *looptest.Host": (*looptest.Host)(nil), "the zero value of *looptest.Host": new(looptest.Host)} {
		if g, err := loop.NewGroup(loop.Config{Network: n}); g != nil || !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("NewGroup: got %v, want ErrBadArgument that contains %q", err, want)
		}
		l, err := sock.ListenTCP(loopback, sock.OnNetwork(n))
		if l != nil || !errors.Is(err, sock.ErrBadArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("OnNetwork: got %v, want ErrBadArgument that contains %q", err, want)
		}
	}
}

// OnNetwork is for sockets that are made, not for open ones; nil is the operating system's network.
func TestOnNetwork(t *testing.T) {
	h := looptest.New(t, looptest.Config{}).Host()
	l := opened[*sock.TCPListener](t)(sock.ListenTCP(loopback, sock.OnNetwork(h), sock.OnNetwork(nil)))
	c, err := net.Dial("tcp", l.Addr().String())
	noError(t, err)
	c.Close()
	if err := l.SetOptions(sock.OnNetwork(h)); !errors.Is(err, sock.ErrBadArgument) {
		t.Errorf("SetOptions: got %v, want ErrBadArgument", err)
	}
	at := netip.AddrPortFrom(h.Addr(), 0)
	if l, err := sock.ListenTCP(at, sock.OnNetwork(nil)); err == nil {
		l.Close()
		t.Errorf("a socket of the operating system has the simulated address %v", at)
	}
	noError(t, opened[*sock.TCPListener](t)(sock.ListenTCP(at, sock.OnNetwork(h))).Close())
}

// Group.Dial and Loop.Dial, and sockets that they make with options of their own, are on the network.
func TestOptionsDoNotLeaveNetwork(t *testing.T) {
	n := looptest.New(t, looptest.Config{})
	h := n.Host()
	g := h.NewGroup(loop.Config{})
	for _, network := range []string{"tcp", "unix"} {
		ln, err := g.Listen(network, map[string]string{"tcp": ":7", "unix": "/nowhere/at/all"}[network], func(*loop.Conn) loop.Handler { return echo{} }, sock.ReadBuffer(5000))
		noError(t, err)
		c, err := g.Dial(context.Background(), network, map[string]string{"tcp": "10.0.0.1:7", "unix": ln.Addr().String()}[network], func(*loop.Conn) loop.Handler { return echo{} }, sock.ReadBuffer(5000))
		noError(t, err)
		if network == "tcp" && !strings.HasPrefix(c.LocalAddr().String(), "10.0.0.1:") {
			t.Errorf("the local address is %v", c.LocalAddr())
		}
	}
	if open := h.Descriptors(); open < 4 {
		t.Errorf("%d descriptors are open on the host, want at least 4", open)
	}
}
