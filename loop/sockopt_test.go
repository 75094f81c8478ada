package loop_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// connOptions are the methods of Conn that set a socket option.
func connOptions(c *loop.Conn) map[string]func() error {
	return map[string]func() error{
		"SetNoDelay":     func() error { return c.SetNoDelay(false) },
		"SetKeepAlive":   func() error { return c.SetKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second}) },
		"SetUserTimeout": func() error { return c.SetUserTimeout(1234 * time.Millisecond) },
		"SetReadBuffer":  func() error { return c.SetReadBuffer(20000) },
		"SetWriteBuffer": func() error { return c.SetWriteBuffer(10000) },
	}
}

// The setters of a connection set the socket's options, on accepted and dialed connections, in
// callbacks and on other goroutines.
func TestConnOptions(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	conns := make(chan *loop.Conn, 1)
	set := func(c *loop.Conn) {
		for what, f := range connOptions(c) {
			if err := f(); err != nil && !(what == "SetUserTimeout" && !sys.HasUserTimeout && errors.Is(err, errors.ErrUnsupported)) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	accept := func(c *loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) { set(c); conns <- c }}
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", accept)
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	set(c)
	checkStreamOptions(t, c)
	checkStreamOptions(t, receive(t, conns, "the accepted connection"))
}

// Values out of range are ErrBadArgument, and change nothing.
func TestConnOptionsOutOfRange(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	serve(t, loop.Config{}, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	c := receive(t, conns, "the connection")
	before := socketInt(t, c, sys.SOL_SOCKET, sys.SO_RCVBUF)
	for what, err := range map[string]error{
		"SetReadBuffer(0)":            c.SetReadBuffer(0),
		"SetWriteBuffer(-1)":          c.SetWriteBuffer(-1),
		"SetUserTimeout(-1)":          c.SetUserTimeout(-1),
		"SetUserTimeout(1<<31 ms)":    c.SetUserTimeout(1 << 31 * time.Millisecond),
		"SetKeepAlive with Count 128": c.SetKeepAlive(net.KeepAliveConfig{Enable: true, Count: 128}),
	} {
		var op *net.OpError
		if !errors.Is(err, loop.ErrBadArgument) || !errors.As(err, &op) || op.Addr == nil {
			t.Errorf("%s: %v, want a *net.OpError with ErrBadArgument and the address", what, err)
		}
	}
	if after := socketInt(t, c, sys.SOL_SOCKET, sys.SO_RCVBUF); after != before {
		t.Errorf("SO_RCVBUF is %d after the errors, and was %d", after, before)
	}
}

// Options of TCP are errors.ErrUnsupported on a Unix socket; those of all sockets are set.
func TestConnOptionsOfUnixSocket(t *testing.T) {
	testkit.SkipOnWine(t, "it has no Unix sockets")
	g := group(t, loop.Config{Loops: 1})
	conns := make(chan *loop.Conn, 1)
	path := filepath.Join(testkit.TempDir(t), "s")
	if _, err := g.Listen("unix", path, func(c *loop.Conn) loop.Handler { conns <- c; return echo{} }); err != nil {
		t.Fatal(err)
	}
	peer, err := dialNet(t, "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c := receive(t, conns, "the connection")
	for what, set := range connOptions(c) {
		var want error
		switch what {
		case "SetNoDelay", "SetKeepAlive", "SetUserTimeout":
			want = errors.ErrUnsupported
		}
		if err := set(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	checkBuffers(t, c)
}

// L2: on a connection that is closed, being closed or detached, the setters, SyscallConn and the
// RawConn from before return ErrClosed.
func TestL2OptionsAfterClose(t *testing.T) {
	skipWithLayer(t, needsDetach)
	for what, end := range map[string]func(c *loop.Conn) error{
		"Close": (*loop.Conn).Close,
		"Abort": (*loop.Conn).Abort,
		"Detach": func(c *loop.Conn) error {
			return c.DetachStream(func(s *sock.Stream, _ []byte, err error) {
				if err == nil {
					s.Close()
				}
			})
		},
	} {
		conns, closed := make(chan *loop.Conn, 1), make(chan bool)
		_, peer := serve(t, loop.Config{}, func(c *loop.Conn) loop.Handler {
			conns <- c
			return &funcs{closed: func(*loop.Conn, error) { close(closed) }}
		})
		c := receive(t, conns, "the connection")
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			calls := connOptions(c)
			calls["SyscallConn"] = func() error { _, err := c.SyscallConn(); return err }
			calls["Control"] = func() error {
				return raw.Control(func(uintptr) { t.Errorf("%s: Control calls its function %s", what, when) })
			}
			for name, call := range calls {
				var op *net.OpError
				if err := call(); !errors.Is(err, loop.ErrClosed) || !errors.As(err, &op) {
					t.Errorf("%s: %s %s: %v, want a *net.OpError with ErrClosed", what, name, when, err)
				}
			}
		}
		if err := end(c); err != nil {
			t.Fatal(err)
		}
		check("at once")
		peer.Close()
		receive(t, closed, "Closed")
		check("after Closed")
	}
}

// Only the loop reads and writes; a nil function is ErrBadArgument.
func TestSyscallConnControlOnly(t *testing.T) {
	g, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	ping(t, peer)
	conns := make(chan *loop.Conn, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	dial(t, ln.Addr())
	sockets := make(chan *loop.PacketConn, 1)
	if _, err := g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler { sockets <- p; return echoPackets{} }); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]syscall.Conn{"Conn": receive(t, conns, "the connection"), "PacketConn": receive(t, sockets, "the socket")} {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		f := func(uintptr) bool { t.Errorf("%s: the function of Read or Write was called", what); return true }
		if err := raw.Read(f); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: Read: %v, want ErrUnsupported", what, err)
		}
		if err := raw.Write(f); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: Write: %v, want ErrUnsupported", what, err)
		}
		if err := raw.Control(nil); !errors.Is(err, loop.ErrBadArgument) {
			t.Errorf("%s: Control(nil): %v, want ErrBadArgument", what, err)
		}
	}
}

// L2: while connections are closed, and their descriptors' numbers reused, Control and the setters
// never reach another socket.
func TestL2OptionsWhileClosing(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	conns := make(chan *loop.Conn, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler { conns <- c; return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	rounds := 100
	if testkit.Long() {
		rounds = 3000
	}
	for round := range rounds {
		peer := dial(t, ln.Addr())
		c := receive(t, conns, "the connection")
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var others sync.WaitGroup
		for range 2 {
			others.Go(func() {
				for {
					err := raw.Control(func(fd uintptr) {
						// A descriptor that is closed is EBADF; a number that is reused is a UDP socket's.
						if typ, e := sys.GetInt(sys.FD(fd), sys.SOL_SOCKET, sys.SO_TYPE); e != 0 || typ != sys.SOCK_STREAM {
							t.Errorf("Control got a descriptor of type %d (%v), want that of the connection", typ, e)
						}
					})
					if err := errors.Join(err, c.SetWriteBuffer(10000)); errors.Is(err, loop.ErrClosed) {
						return
					}
				}
			})
		}
		if round%2 == 0 {
			c.Abort()
		} else {
			peer.SetLinger(0)
			peer.Close() // a reset: the loop closes the socket, and nothing has announced it
		}
		var reused []*sock.UDPSocket // which get the number of the closed one
		for range 4 {
			u, err := sock.ListenUDP(loopback, onNet(t)...)
			if err != nil {
				t.Fatal(err)
			}
			reused = append(reused, u)
		}
		others.Wait()
		for _, u := range reused {
			if n, err := u.WriteBuffer(); err == nil && (n == 10000 || n == 20000) {
				t.Error("SetWriteBuffer has reached a socket that reuses the descriptor's number")
			}
			u.Close()
		}
		peer.Close()
	}
}

// A PacketConn has no method that takes the socket from its loop.
func TestPacketConnMethods(t *testing.T) {
	want := []string{
		"Broadcast", "Connect", "Disconnect", "JoinGroup", "LeaveGroup", "LocalAddr", "Loop", "ReadBuffer", "RemoteAddr",
		"SetBroadcast", "SetMulticastInterface", "SetMulticastLoop", "SetMulticastTTL", "SetReadBuffer", "SetTTL", "SetWriteBuffer",
		"SyscallConn", "TTL", "Write", "WriteBatch", "WriteBuffer", "WriteTo",
	}
	var got []string
	for p, i := reflect.TypeFor[*loop.PacketConn](), 0; i < p.NumMethod(); i++ {
		got = append(got, p.Method(i).Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the methods of PacketConn are %q, want %q", got, want)
	}
}

// The setters of a PacketConn set its socket's options.
func TestPacketConnOptions(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	sockets := make(chan *loop.PacketConn, 1)
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler { sockets <- p; return echoPackets{} })
	if err != nil {
		t.Fatal(err)
	}
	p := receive(t, sockets, "the socket")
	if p.LocalAddr() != pl.Addr().(*net.UDPAddr).AddrPort() || p.RemoteAddr().IsValid() {
		t.Errorf("LocalAddr is %v and RemoteAddr %v, want %v and none", p.LocalAddr(), p.RemoteAddr(), pl.Addr())
	}
	for what, err := range map[string]error{
		"SetTTL": p.SetTTL(9), "SetBroadcast": p.SetBroadcast(true), "SetReadBuffer": p.SetReadBuffer(20000), "SetWriteBuffer": p.SetWriteBuffer(10000),
		"SetMulticastTTL": p.SetMulticastTTL(3), "SetMulticastLoop": p.SetMulticastLoop(false), "SetMulticastInterface": p.SetMulticastInterface(0),
	} {
		if what == "SetMulticastInterface" && errors.Is(err, syscall.ENOPROTOOPT) {
			t.Logf("%s is not checked: %v (qemu-user has no IP_MULTICAST_IF)", what, err)
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	checkBuffers(t, p)
	if ttl, err := p.TTL(); ttl != 9 || err != nil {
		t.Errorf("TTL = %d, %v, want 9", ttl, err)
	}
	if on, err := p.Broadcast(); !on || err != nil {
		t.Errorf("Broadcast = %v, %v, want true", on, err)
	}
	read, err := p.ReadBuffer()
	if err != nil || read != socketInt(t, p, sys.SOL_SOCKET, sys.SO_RCVBUF) {
		t.Errorf("ReadBuffer = %d, %v", read, err)
	}
	if write, err := p.WriteBuffer(); err != nil || write != socketInt(t, p, sys.SOL_SOCKET, sys.SO_SNDBUF) {
		t.Errorf("WriteBuffer = %d, %v", write, err)
	}
	to := netip.MustParseAddrPort("127.0.0.1:9")
	if err := p.Connect(to); err != nil || p.RemoteAddr() != to {
		t.Errorf("Connect: %v; RemoteAddr is %v", err, p.RemoteAddr())
	}
	if err := p.Disconnect(); err != nil || p.RemoteAddr().IsValid() {
		t.Errorf("Disconnect: %v; RemoteAddr is %v", err, p.RemoteAddr())
	}
}

// After Close, and after Shutdown, the methods of a PacketConn return ErrClosed.
func TestPacketConnAfterClose(t *testing.T) {
	for _, shutdown := range []bool{false, true} {
		g := group(t, loop.Config{Loops: 1})
		sockets := make(chan *loop.PacketConn, 1)
		pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler { sockets <- p; return echoPackets{} })
		if err != nil {
			t.Fatal(err)
		}
		p := receive(t, sockets, "the socket")
		raw, err := p.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if shutdown {
			err = g.Shutdown(context.Background())
		} else {
			err = pl.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		to, all := netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddr("224.0.0.251")
		first := func(_ any, err error) error { return err }
		for what, err := range map[string]error{
			"Write": first(p.Write([]byte("x"))), "WriteTo": first(p.WriteTo([]byte("x"), to)), "WriteBatch": first(p.WriteBatch([]sock.Message{{Data: []byte("x"), Addr: to}})),
			"Connect": p.Connect(to), "Disconnect": p.Disconnect(), "JoinGroup": p.JoinGroup(all, 0), "LeaveGroup": p.LeaveGroup(all, 0),
			"SetBroadcast": p.SetBroadcast(true), "Broadcast": first(p.Broadcast()), "SetTTL": p.SetTTL(9), "TTL": first(p.TTL()),
			"SetMulticastTTL": p.SetMulticastTTL(1), "SetMulticastLoop": p.SetMulticastLoop(true), "SetMulticastInterface": p.SetMulticastInterface(0),
			"SetReadBuffer": p.SetReadBuffer(20000), "ReadBuffer": first(p.ReadBuffer()), "SetWriteBuffer": p.SetWriteBuffer(20000), "WriteBuffer": first(p.WriteBuffer()),
			"SyscallConn": first(p.SyscallConn()), "Control": raw.Control(func(uintptr) { t.Error("Control calls its function after Close") }),
		} {
			var op *net.OpError
			if !errors.Is(err, loop.ErrClosed) || !errors.As(err, &op) {
				t.Errorf("%s after the end: %v, want a *net.OpError with ErrClosed", what, err)
			}
		}
		if p.LocalAddr().IsValid() || p.RemoteAddr().IsValid() {
			t.Errorf("after the end LocalAddr is %v and RemoteAddr %v, want none", p.LocalAddr(), p.RemoteAddr())
		}
	}
}
