package loop_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// socketInt returns a socket option of a connection or UDP socket.
func socketInt(t testing.TB, c syscall.Conn, level, number int) (v int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		var e syscall.Errno
		if v, e = sys.GetInt(sys.FD(fd), level, number); e != 0 {
			t.Errorf("getsockopt: %v", e)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

// streamOptions are options for connections that checkStreamOptions can recognize.
func streamOptions() []sock.Option {
	o := []sock.Option{
		sock.NoDelay(false), sock.ReadBuffer(20000), sock.WriteBuffer(10000),
		sock.KeepAlive(net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second}),
	}
	if sys.HasUserTimeout {
		o = append(o, sock.UserTimeout(1234*time.Millisecond))
	}
	return o
}

func checkStreamOptions(t testing.TB, c *loop.Conn) {
	t.Helper()
	checkBuffers(t, c)
	for what, o := range map[string]struct{ level, number, want int }{
		"TCP_NODELAY":      {sys.IPPROTO_TCP, sys.TCP_NODELAY, 0},
		"TCP_KEEPIDLE":     {sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, 40},
		"TCP_USER_TIMEOUT": {sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, 1234},
	} {
		if o.number == sys.TCP_KEEPIDLE && runtime.GOOS != "linux" || o.number == sys.TCP_USER_TIMEOUT && !sys.HasUserTimeout {
			continue // not every system returns it
		}
		if v := socketInt(t, c, o.level, o.number); v != o.want {
			t.Errorf("%s of the connection is %d, want %d", what, v, o.want)
		}
	}
	if v := socketInt(t, c, sys.SOL_SOCKET, sys.SO_KEEPALIVE); v == 0 && !sys.OnWine() {
		t.Error("SO_KEEPALIVE of the connection is not set")
	}
}

// checkBuffers checks buffers of 20,000 and 10,000 bytes; Linux returns twice what was set.
func checkBuffers(t testing.TB, c syscall.Conn) {
	t.Helper()
	if v := socketInt(t, c, sys.SOL_SOCKET, sys.SO_RCVBUF); v != 20000 && v != 40000 {
		t.Errorf("SO_RCVBUF is %d, want 20000", v)
	}
	if v := socketInt(t, c, sys.SOL_SOCKET, sys.SO_SNDBUF); v != 10000 && v != 20000 {
		t.Errorf("SO_SNDBUF is %d, want 10000", v)
	}
}

// socketsOf returns how many sockets Listen and ListenPacket make for so many loops.
func socketsOf(t testing.TB, loops int) int64 {
	if balances(t) {
		return int64(loops)
	}
	return 1
}

// balances reports whether the network of the test balances between the sockets of a port, so that each
// loop has one.
func balances(t testing.TB) bool { return runtime.GOOS == "linux" && hostOf(t) == nil }

// The options of Listen apply to the connections that each of the loops accepts, and Control is
// called once for each listening socket.
func TestListenOptions(t *testing.T) {
	const loops = 3
	g := group(t, loop.Config{Loops: loops})
	conns := make(chan *loop.Conn, 1)
	var controls atomic.Int64
	control := sock.Control(func(uintptr) error { controls.Add(1); return nil })
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler { conns <- c; return echo{} }, append(streamOptions(), control)...)
	if err != nil {
		t.Fatal(err)
	}
	if n := controls.Load(); n != socketsOf(t, loops) {
		t.Errorf("Control was called %d times, want once for each of %d sockets", n, socketsOf(t, loops))
	}
	seen := map[*loop.Loop]bool{}
	for len(seen) < loops { // with 3 sockets, 200 connections miss one of them once in 10^35 runs
		if len(seen) > 0 && g.Conns() > 200 {
			t.Fatalf("200 connections have gone to %d of %d loops", len(seen), loops)
		}
		dial(t, ln.Addr())
		c := receive(t, conns, "a connection")
		seen[c.Loop()] = true
		checkStreamOptions(t, c)
	}
}

// The options of a Unix listener apply to its connections.
func TestListenUnixOptions(t *testing.T) {
	testkit.SkipOnWine(t, "it has no Unix sockets")
	g := group(t, loop.Config{})
	conns := make(chan *loop.Conn, 1)
	accept := func(c *loop.Conn) loop.Handler { conns <- c; return echo{} }
	for _, served := range []bool{false, true} {
		path := filepath.Join(testkit.TempDir(t), "s")
		var err error
		if served {
			l, e := sock.ListenUnix(path, onNet(t)...)
			if e != nil {
				t.Fatal(e)
			}
			_, err = g.ServeUnix(l, accept, sock.ReadBuffer(20000), sock.WriteBuffer(10000))
		} else {
			_, err = g.Listen("unix", path, accept, sock.ReadBuffer(20000), sock.WriteBuffer(10000))
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialNet(t, "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		checkBuffers(t, receive(t, conns, "a connection"))
	}
}

// The options of Serve apply to the connections that arrive from then on.
func TestServeOptions(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	l, err := sock.ListenTCP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *loop.Conn, 1)
	ln, err := g.Serve(l, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} }, streamOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	dial(t, ln.Addr())
	checkStreamOptions(t, receive(t, conns, "a connection"))
}

// The option KeepAlive overrides Config.KeepAlive, on connections of Listen and of Dial.
func TestKeepAliveOption(t *testing.T) {
	testkit.SkipOnWine(t, "it does not report keep-alive")
	on, off := net.KeepAliveConfig{Enable: true}, net.KeepAliveConfig{}
	for what, x := range map[string]struct {
		config, option net.KeepAliveConfig
		want           bool
	}{"off": {on, off, false}, "on": {net.KeepAliveConfig{Idle: -1}, on, true}} {
		g := group(t, loop.Config{Loops: 1, KeepAlive: x.config})
		conns := make(chan *loop.Conn, 2)
		accept := func(c *loop.Conn) loop.Handler { conns <- c; return echo{} }
		ln, err := g.Listen("tcp", "127.0.0.1:0", accept, sock.KeepAlive(x.option))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), accept, sock.KeepAlive(x.option)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if v := socketInt(t, receive(t, conns, "a connection"), sys.SOL_SOCKET, sys.SO_KEEPALIVE); v != 0 != x.want {
				t.Errorf("%s: SO_KEEPALIVE is %d, want %v", what, v, x.want)
			}
		}
	}
}

// An address is shared only with the option ReusePort of every server, which does not conflict with
// the sockets of several loops.
func TestListenReusePort(t *testing.T) {
	if !sys.HasReusePort {
		t.Skip("this system has no SO_REUSEPORT")
	}
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	packets := func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} }
	for _, loops := range []int{1, 3} {
		listen := func(address string, options ...sock.Option) (net.Addr, error) {
			ln, err := group(t, loop.Config{Loops: loops}).Listen("tcp", address, accept, options...)
			if err != nil {
				return nil, err
			}
			return ln.Addr(), nil
		}
		listenPacket := func(address string, options ...sock.Option) (net.Addr, error) {
			pl, err := group(t, loop.Config{Loops: loops}).ListenPacket("udp", address, packets, options...)
			if err != nil {
				return nil, err
			}
			return pl.Addr(), nil
		}
		for what, listen := range map[string]func(address string, options ...sock.Option) (net.Addr, error){"tcp": listen, "udp": listenPacket} {
			addr, err := listen("127.0.0.1:0", sock.ReusePort(true))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := listen(addr.String(), sock.ReusePort(true)); err != nil {
				t.Errorf("%s, %d loops: a second server with ReusePort: %v", what, loops, err)
			}
			if _, err := listen(addr.String()); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s, %d loops: a third server without ReusePort: %v, want EADDRINUSE", what, loops, err)
			}
		}
	}
}

// Options that are invalid, or do not apply, are ErrBadArgument, and have no effect.
func TestBadOptions(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	l := g.Loops()[0]
	ctx, to := context.Background(), netip.MustParseAddrPort("127.0.0.1:1")
	accept := func(*loop.Conn) loop.Handler { t.Error("accept was called"); return nil }
	packets := func(*loop.PacketConn) loop.PacketHandler { t.Error("the handler's function was called"); return nil }
	done := func(*loop.Conn, error) { t.Error("Dial's function was called") }
	control := sock.Control(func(uintptr) error { return nil })
	path := filepath.Join(testkit.TempDir(t), "s")
	calls := map[string]func(o sock.Option) error{
		"Listen tcp":    func(o sock.Option) error { _, err := g.Listen("tcp", "127.0.0.1:0", accept, o); return err },
		"Listen unix":   func(o sock.Option) error { _, err := g.Listen("unix", path, accept, o); return err },
		"ListenPacket":  func(o sock.Option) error { _, err := g.ListenPacket("udp", "127.0.0.1:0", packets, o); return err },
		"Dial tcp":      func(o sock.Option) error { _, err := g.Dial(ctx, "tcp", to.String(), accept, o); return err },
		"Dial unix":     func(o sock.Option) error { _, err := g.Dial(ctx, "unix", path, accept, o); return err },
		"Loop.Dial tcp": func(o sock.Option) error { return l.Dial(ctx, "tcp", to.String(), accept, done, o) },
		"Serve": func(o sock.Option) error {
			s, err := sock.ListenTCP(loopback, onNet(t)...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Serve(s, accept, o)
			if s.Addr().IsValid() {
				t.Error("Serve has failed, and the socket is open")
			}
			return err
		},
		"ServePacket": func(o sock.Option) error {
			u, err := sock.ListenUDP(loopback, onNet(t)...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.ServePacket(u, packets, o)
			if u.LocalAddr().IsValid() {
				t.Error("ServePacket has failed, and the socket is open")
			}
			return err
		},
	}
	for what, options := range map[string]map[string]sock.Option{
		"Listen tcp":    {"LocalAddr": sock.LocalAddr(to), "ReadBuffer": sock.ReadBuffer(0), "Backlog": sock.Backlog(-1), "nil": nil, "Control": sock.Control(nil)},
		"Listen unix":   {"NoDelay": sock.NoDelay(true), "KeepAlive": sock.KeepAlive(net.KeepAliveConfig{}), "ReusePort": sock.ReusePort(true)},
		"ListenPacket":  {"Backlog": sock.Backlog(1), "KeepAlive": sock.KeepAlive(net.KeepAliveConfig{}), "LocalAddr": sock.LocalAddr(to), "nil": nil},
		"Dial tcp":      {"Backlog": sock.Backlog(1), "WriteBuffer": sock.WriteBuffer(0), "nil": nil},
		"Dial unix":     {"LocalAddr": sock.LocalAddr(to), "V6Only": sock.V6Only(true)},
		"Loop.Dial tcp": {"Backlog": sock.Backlog(1), "KeepAlive": sock.KeepAlive(net.KeepAliveConfig{Enable: true, Count: 128})},
		"Serve":         {"Backlog": sock.Backlog(1), "ReusePort": sock.ReusePort(true), "Control": control, "nil": nil, "ReadBuffer": sock.ReadBuffer(0)},
		"ServePacket":   {"NoDelay": sock.NoDelay(true), "Control": control, "WriteBuffer": sock.WriteBuffer(-1)},
	} {
		for name, o := range options {
			err := calls[what](o)
			var op *net.OpError
			if !errors.Is(err, loop.ErrBadArgument) || !errors.As(err, &op) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s with the option %s: %v, want a *net.OpError with ErrBadArgument and the name", what, name, err)
			}
		}
	}
	if n := g.Conns(); n != 0 || g.Listeners() != 0 {
		t.Errorf("%d connections and %d listeners are left", n, g.Listeners())
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a path of a Unix socket is left")
	}
}

// An error of Control is the error of the call.
func TestControlError(t *testing.T) {
	boom := errors.New("boom")
	g := group(t, loop.Config{Loops: 2})
	calls := 0
	fails := sock.Control(func(uintptr) error {
		if calls++; calls == 2 && balances(t) { // of the second loop's socket
			return boom
		}
		return nil
	})
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	if balances(t) {
		if _, err := g.Listen("tcp", "127.0.0.1:0", accept, fails); !errors.Is(err, boom) {
			t.Errorf("Listen: %v, want the error of Control", err)
		}
		calls = 0
		if _, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} }, fails); !errors.Is(err, boom) {
			t.Errorf("ListenPacket: %v, want the error of Control", err)
		}
	}
	always := sock.Control(func(uintptr) error { return boom })
	if _, err := g.Dial(context.Background(), "tcp", "127.0.0.1:1", accept, always); !errors.Is(err, boom) {
		t.Errorf("Dial: %v, want the error of Control", err)
	}
	if n := g.Conns(); n != 0 || g.Listeners() != 0 {
		t.Errorf("%d connections and %d listeners are left", n, g.Listeners())
	}
}

// The options of Dial apply to the connection, from both functions, and LocalAddr is its address.
func TestDialOptions(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	accepted := make(chan *loop.Conn, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler { accepted <- c; return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	if runtime.GOOS == "linux" {
		local = netip.MustParseAddr("127.0.0.2")
	}
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	for what, dial := range map[string]func(options ...sock.Option) *loop.Conn{
		"Group.Dial": func(options ...sock.Option) *loop.Conn {
			c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), accept, options...)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		"Loop.Dial": func(options ...sock.Option) *loop.Conn {
			dialed := make(chan *loop.Conn, 1)
			if err := g.Loops()[1].Dial(context.Background(), "tcp", ln.Addr().String(), accept, func(c *loop.Conn, err error) {
				if err != nil {
					t.Error(err)
				}
				dialed <- c
			}, options...); err != nil {
				t.Fatal(err)
			}
			return receive(t, dialed, "Dial's function")
		},
	} {
		calls := 0
		control := sock.Control(func(uintptr) error { calls++; return nil })
		c := dial(append(streamOptions(), control, sock.LocalAddr(netip.AddrPortFrom(local, 0)))...)
		checkStreamOptions(t, c)
		if calls != 1 {
			t.Errorf("%s: Control was called %d times, want once", what, calls)
		}
		s := receive(t, accepted, "the accepted connection")
		if a := s.RemoteAddr().(*net.TCPAddr).AddrPort(); a.Addr() != local {
			t.Errorf("%s: the peer's address is %v, want %v", what, a, local)
		}
	}
}

// A dialed Unix socket has the name of LocalUnixAddr; its path is removed if the dial fails or is
// canceled, and stays otherwise.
func TestDialLocalUnixAddr(t *testing.T) {
	testkit.SkipOnWine(t, "it has no Unix sockets")
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no names of connecting sockets")
	}
	dir := testkit.TempDir(t)
	g := group(t, loop.Config{Loops: 1, MaxConns: 2})
	names := make(chan net.Addr, 1)
	ln, err := g.Listen("unix", filepath.Join(dir, "server"), func(c *loop.Conn) loop.Handler { names <- c.RemoteAddr(); return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, accept := context.Background(), func(*loop.Conn) loop.Handler { return echo{} }
	exists := func(path string) bool {
		h := hostOf(t)
		if h == nil {
			_, err := os.Lstat(path)
			return err == nil
		}
		ln, err := h.Listen("unix", path) // a name of the host
		if err == nil {
			ln.Close()
		}
		return errors.Is(err, syscall.EADDRINUSE)
	}
	next := 0
	path := func() string { next++; return filepath.Join(dir, strconv.Itoa(next)) }

	own := path()
	if _, err := g.Dial(ctx, "unix", ln.Addr().String(), accept, sock.LocalUnixAddr(own)); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, names, "the peer's name"); a.String() != own || !exists(own) {
		t.Errorf("the peer's name is %v, and its path exists: %v, want %s and true", a, exists(own), own)
	}

	full := path()
	if _, err := g.Dial(ctx, "unix", ln.Addr().String(), accept, sock.LocalUnixAddr(full)); !errors.Is(err, loop.ErrTooManyConns) {
		t.Errorf("Dial above MaxConns: %v, want ErrTooManyConns", err)
	}
	g = group(t, loop.Config{Loops: 1})
	refused := path()
	if _, err := g.Dial(ctx, "unix", filepath.Join(dir, "no server"), accept, sock.LocalUnixAddr(refused)); err == nil {
		t.Error("Dial of a path without a server succeeded")
	}
	// Canceled while the loop is in a callback.
	blocked, release := make(chan bool), make(chan bool)
	g.Loops()[0].Run(func() { blocked <- true; <-release })
	receive(t, blocked, "the callback that blocks")
	canceled := path()
	ctx, cancel := context.WithCancel(ctx)
	dialed := make(chan error, 1)
	err = g.Loops()[0].Dial(ctx, "unix", ln.Addr().String(), accept, func(_ *loop.Conn, err error) { dialed <- err }, sock.LocalUnixAddr(canceled))
	if err != nil || !exists(canceled) {
		t.Errorf("Loop.Dial: %v; the path exists: %v", err, exists(canceled))
	}
	cancel()
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) { // the cancellation runs on a goroutine of its own
		t.Error("a canceled dial still counts as a connection")
	}
	close(release)
	if err := receive(t, dialed, "Dial's function"); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled dial: %v, want context.Canceled", err)
	}
	for what, path := range map[string]string{"refused for MaxConns": full, "without a server": refused, "canceled": canceled} {
		if exists(path) {
			t.Errorf("%s: the path of the dialing socket is left", what)
		}
	}
}

// The options of ListenPacket apply to the socket of each loop, also beside the filter for
// broadcasts of a wildcard address; Control is called once for each.
func TestListenPacketOptions(t *testing.T) {
	const loops = 3
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		g := group(t, loop.Config{Loops: loops})
		var controls atomic.Int64
		control := sock.Control(func(uintptr) error { controls.Add(1); return nil })
		sockets := make(chan *loop.PacketConn, loops)
		_, err := g.ListenPacket("udp", address, func(p *loop.PacketConn) loop.PacketHandler { sockets <- p; return echoPackets{} },
			sock.ReadBuffer(20000), sock.WriteBuffer(10000), control)
		if err != nil {
			t.Fatal(err)
		}
		n := len(sockets)
		if address == "127.0.0.1:0" && int64(n) != socketsOf(t, loops) { // without a list of interfaces, a wildcard address has one socket
			t.Errorf("%d sockets, want %d", n, socketsOf(t, loops))
		}
		if c := controls.Load(); c != int64(n) {
			t.Errorf("Control was called %d times for %d sockets", c, n)
		}
		for range n {
			checkBuffers(t, receive(t, sockets, "a socket"))
		}
	}
}

// The options of ServePacket apply to the socket.
func TestServePacketOptions(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	sockets := make(chan *loop.PacketConn, 1)
	_, err = g.ServePacket(u, func(p *loop.PacketConn) loop.PacketHandler { sockets <- p; return echoPackets{} }, sock.ReadBuffer(20000), sock.WriteBuffer(10000))
	if err != nil {
		t.Fatal(err)
	}
	checkBuffers(t, receive(t, sockets, "the socket"))
}
