package loop_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// runOnLoop runs f on a loop, and fails the test if f does not return in time.
func runOnLoop(t *testing.T, l *loop.Loop, what string, f func()) {
	t.Helper()
	done := make(chan bool)
	if err := l.Run(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	receive(t, done, what)
}

// A call that would wait for the loop on which it is called returns ErrOnLoop.
func TestBlockingCallsOnTheLoop(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	l := g.Loops()[1]
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	runOnLoop(t, l, "the errors", func() {
		tcp, err := sock.ListenTCP(loopback, onNet(t)...)
		if err != nil {
			t.Error(err)
			return
		}
		udp, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Error(err)
			return
		}
		_, listen := g.Listen("tcp", "127.0.0.1:0", echoes)
		_, serve := g.Serve(tcp, echoes)
		_, packet := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return nil })
		_, servePacket := g.ServePacket(udp, func(*loop.PacketConn) loop.PacketHandler { return nil })
		_, dial := g.Dial(context.Background(), "tcp", tcp.Addr().String(), echoes)
		_, watch := l.Watch(context.Background(), udp, pollux.Readable, func(pollux.Event) {})
		for what, err := range map[string]error{
			"Listen": listen, "Serve": serve, "ListenPacket": packet, "ServePacket": servePacket, "Dial": dial, "Watch": watch,
			"Shutdown": g.Shutdown(context.Background()),
		} {
			if !errors.Is(err, loop.ErrOnLoop) {
				t.Errorf("%s on a loop: got %v, want ErrOnLoop", what, err)
			}
		}
		if err := tcp.Close(); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("Close after Serve failed: got %v, want ErrClosed", err)
		}
		if err := udp.Close(); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("Close after ServePacket failed: got %v, want ErrClosed", err)
		}
	})
	ln, err := g.Listen("tcp", "127.0.0.1:0", echoes) // Shutdown had no effect
	if err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, ln.Addr()))
}

// misuseEnv is what the calls of misuses are made on.
type misuseEnv struct {
	*testing.T
	g      *loop.Group
	l      *loop.Loop
	addr   string // of a listener of g
	peers  string // the address of an echo server of package net
	c      *loop.Conn
	p      *loop.PacketConn
	tcp    func() *sock.TCPListener
	unix   func() *sock.UnixListener
	udp    func() *sock.UDPSocket
	accept func(*loop.Conn) loop.Handler
}

// A misuse is a call with an invalid argument.
type misuse struct {
	function string // exported by package loop
	argument string
	call     func(e misuseEnv) error
}

var (
	noContext context.Context
	bg        = context.Background()
	hundred   = strings.Repeat("x", 100)
	ip6       = netip.MustParseAddrPort("[::1]:9")
	multicast = netip.MustParseAddr("224.0.0.251")
)

// wantNothing returns the error of a write, or one that reports that it has written something.
func wantNothing(n int, err error) error {
	if n != 0 {
		return fmt.Errorf("%d were written, want 0 (%v)", n, err)
	}
	return err
}

// netConn returns a connection of package net, and stream one of package sock. An error must leave
// them open.
func (e misuseEnv) netConn() net.Conn {
	c := opened[net.Conn](e.T)(dialNet(e.T, "tcp", e.peers))
	e.Cleanup(func() { ping(e.T, c) })
	return c
}

func (e misuseEnv) stream() *sock.Stream {
	s := opened[*sock.Stream](e.T)(sock.FromConn(e.netConn().(syscall.Conn)))
	e.Cleanup(func() {
		if _, err := s.ReadBuffer(); err != nil {
			e.Errorf("the stream is not open: %v", err)
		}
	})
	return s
}

// fanout returns a Fanout with the member c, which must not get anything.
func (e misuseEnv) fanout() *loop.Fanout {
	f := loop.NewFanout(loop.FanoutConfig{})
	if err := f.Add(e.c); err != nil {
		e.Fatal(err)
	}
	return f
}

func workOne() (int, error) { return 1, nil }

// misuses has the calls that must return ErrBadArgument, and have no effect.
var misuses = slices.Concat(misusesOfGroups, misusesOfLoops, misusesOfConns, misusesOfPackets, misusesOfOptions)

var misusesOfGroups = []misuse{
	{"Resolve", "an unknown network", func(misuseEnv) error { _, err := loop.Resolve("carrier", "127.0.0.1:1"); return err }},
	{"Resolve", "no port", func(misuseEnv) error { _, err := loop.Resolve("tcp", "127.0.0.1"); return err }},

	{"Offload", "no Runner", func(misuseEnv) error { return loop.Offload(nil, workOne, nil) }},
	{"Offload", "a nil Conn", func(misuseEnv) error { return loop.Offload((*loop.Conn)(nil), workOne, nil) }},
	{"Offload", "a nil Loop", func(misuseEnv) error { return loop.Offload((*loop.Loop)(nil), workOne, nil) }},
	{"Offload", "no work, on a loop", func(e misuseEnv) error { return loop.Offload(e.l, nil, e.neverInt) }},
	{"Offload", "no work, on a connection", func(e misuseEnv) error { return loop.Offload(e.c, nil, e.neverInt) }},

	{"Group.Dial", "no context", func(e misuseEnv) error { _, err := e.g.Dial(noContext, "tcp", e.addr, e.neverAccept); return err }},
	{"Group.Dial", "no function", func(e misuseEnv) error { _, err := e.g.Dial(bg, "tcp", e.addr, nil); return err }},
	{"Group.Dial", "a network of UDP", func(e misuseEnv) error { _, err := e.g.Dial(bg, "udp", e.addr, e.neverAccept); return err }},
	{"Group.Dial", "a name", func(e misuseEnv) error { _, err := e.g.Dial(bg, "tcp", "example.org:80", e.neverAccept); return err }},
	{"Loop.Dial", "no context", func(e misuseEnv) error { return e.l.Dial(noContext, "tcp", e.addr, e.neverAccept, e.neverDialed) }},
	{"Loop.Dial", "no function", func(e misuseEnv) error { return e.l.Dial(bg, "tcp", e.addr, nil, e.neverDialed) }},
	{"Loop.Dial", "no network", func(e misuseEnv) error { return e.l.Dial(bg, "", e.addr, e.neverAccept, e.neverDialed) }},
	{"Loop.Dial", "a port out of range", func(e misuseEnv) error { return e.l.Dial(bg, "tcp", "127.0.0.1:65536", e.neverAccept, e.neverDialed) }},

	{"Group.Listen", "no function", func(e misuseEnv) error { _, err := e.g.Listen("tcp", "127.0.0.1:0", nil); return err }},
	{"Group.Listen", "no function, unix", func(e misuseEnv) error {
		name := filepath.Join(testkit.TempDir(e), "s")
		_, err := e.g.Listen("unix", name, nil)
		if _, serr := os.Stat(name); serr == nil {
			e.Errorf("Listen without a function has left %s", name)
		}
		return err
	}},
	{"Group.Listen", "an unknown network", func(e misuseEnv) error { _, err := e.g.Listen("carrier", "127.0.0.1:0", e.neverAccept); return err }},
	{"Group.Listen", "no address", func(e misuseEnv) error { _, err := e.g.Listen("tcp", "", e.neverAccept); return err }},
	{"Group.Listen", "no port", func(e misuseEnv) error { _, err := e.g.Listen("tcp", "127.0.0.1", e.neverAccept); return err }},
	{"Group.Listen", "a port that is no number", func(e misuseEnv) error { _, err := e.g.Listen("tcp", "127.0.0.1:http", e.neverAccept); return err }},
	{"Group.Listen", "an unclosed bracket", func(e misuseEnv) error { _, err := e.g.Listen("tcp", "[::1:80", e.neverAccept); return err }},
	{"Group.Listen", "an address of another family", func(e misuseEnv) error { _, err := e.g.Listen("tcp6", "127.0.0.1:0", e.neverAccept); return err }},
	{"Group.ListenPacket", "a network of TCP", func(e misuseEnv) error { _, err := e.g.ListenPacket("tcp", "127.0.0.1:0", e.neverPackets); return err }},
	{"Group.ListenPacket", "no port", func(e misuseEnv) error { _, err := e.g.ListenPacket("udp", hundred, e.neverPackets); return err }},
	{"Group.ListenPacket", "no function", func(e misuseEnv) error { _, err := e.g.ListenPacket("udp", "127.0.0.1:0", nil); return err }},
	{"Group.Serve", "no socket", func(e misuseEnv) error { _, err := e.g.Serve(nil, e.neverAccept); return err }},
	{"Group.Serve", "no function", func(e misuseEnv) error { _, err := e.g.Serve(e.tcp(), nil); return err }},
	{"Group.ServeUnix", "no socket", func(e misuseEnv) error { _, err := e.g.ServeUnix(nil, e.neverAccept); return err }},
	{"Group.ServeUnix", "no function", func(e misuseEnv) error { _, err := e.g.ServeUnix(e.unix(), nil); return err }},
	{"Group.ServePacket", "no socket", func(e misuseEnv) error { _, err := e.g.ServePacket(nil, e.neverPackets); return err }},
	{"Group.ServePacket", "no function", func(e misuseEnv) error { _, err := e.g.ServePacket(e.udp(), nil); return err }},
	{"Group.Shutdown", "no context", func(e misuseEnv) error { return e.g.Shutdown(noContext) }},
}

var misusesOfLoops = []misuse{
	{"Loop.Run", "no function", func(e misuseEnv) error { return e.l.Run(nil) }},
	{"Loop.Watch", "no context", func(e misuseEnv) error {
		_, err := e.l.Watch(noContext, e.udp(), pollux.Readable, e.neverReady)
		return err
	}},
	{"Loop.Watch", "no source", func(e misuseEnv) error { _, err := e.l.Watch(bg, nil, pollux.Readable, e.neverReady); return err }},
	{"Loop.Watch", "a nil socket", func(e misuseEnv) error {
		_, err := e.l.Watch(bg, (*sock.UDPSocket)(nil), pollux.Readable, e.neverReady)
		return err
	}},
	{"Loop.Watch", "no function", func(e misuseEnv) error { _, err := e.l.Watch(bg, e.udp(), pollux.Readable, nil); return err }},
	{"Loop.WatchLater", "no source", func(e misuseEnv) (err error) {
		e.l.WatchLater(nil, pollux.Readable, e.neverReady, func(got error) { err = got })
		return err
	}},
	{"Loop.WatchLater", "no function", func(e misuseEnv) (err error) {
		e.l.WatchLater(e.udp(), pollux.Readable, nil, func(got error) { err = got })
		return err
	}},

	{"Loop.Watch", "no interest", func(e misuseEnv) error { _, err := e.l.Watch(bg, e.udp(), 0, e.neverReady); return err }},
	{"Loop.WatchLater", "an unknown interest", func(e misuseEnv) (err error) {
		e.l.WatchLater(e.udp(), 0x80, e.neverReady, func(got error) { err = got })
		return err
	}},

	{"Group.Attach", "no connection", func(e misuseEnv) error { return e.g.Attach(nil, nil, e.neverAccept) }},
	{"Group.Attach", "no function", func(e misuseEnv) error { return e.g.Attach(e.netConn(), nil, nil) }},
	{"Group.AttachStream", "no stream", func(e misuseEnv) error { return e.g.AttachStream(nil, nil, e.neverAccept) }},
	{"Group.AttachStream", "a stream without a socket, no function", func(e misuseEnv) error { return e.g.AttachStream(new(sock.Stream), nil, nil) }},
	{"Loop.Attach", "a nil connection", func(e misuseEnv) error { return e.l.Attach((*net.TCPConn)(nil), nil, e.neverAccept) }},
	{"Loop.Attach", "no function", func(e misuseEnv) error { return e.l.Attach(e.netConn(), nil, nil) }},
	{"Loop.AttachStream", "no stream", func(e misuseEnv) error { return e.l.AttachStream(nil, nil, e.neverAccept) }},
}

var misusesOfConns = []misuse{
	{"Group.Each", "no function", func(e misuseEnv) error { return e.g.Each(nil) }},
	{"Relay", "no connection", func(e misuseEnv) error { return loop.Relay(e.c, nil, loop.RelayConfig{}) }},
	{"Relay", "one connection twice", func(e misuseEnv) error { return loop.Relay(e.c, e.c, loop.RelayConfig{}) }},
	{"Relay", "a negative timeout", func(e misuseEnv) error { return loop.Relay(e.c, e.c, loop.RelayConfig{IdleTimeout: -1}) }},
	{"RelayTo", "a network of UDP", func(e misuseEnv) error { _, err := loop.RelayTo("udp", e.addr, loop.RelayConfig{}); return err }},
	{"RelayTo", "no Unix name", func(misuseEnv) error { _, err := loop.RelayTo("unix", "", loop.RelayConfig{}); return err }},
	{"RelayTo", "a negative timeout", func(e misuseEnv) error {
		_, err := loop.RelayTo("tcp", e.addr, loop.RelayConfig{DialTimeout: -1})
		return err
	}},
	{"RelayTo", "an option for listeners", func(e misuseEnv) error {
		_, err := loop.RelayTo("tcp", e.addr, loop.RelayConfig{}, sock.Backlog(1))
		return err
	}},

	{"Fanout.Add", "no connection", func(misuseEnv) error { return loop.NewFanout(loop.FanoutConfig{}).Add(nil) }},
	{"Fanout.Send", "no Shared", func(e misuseEnv) error { return e.fanout().Send(nil) }},
	{"Fanout.Send", "a released Shared", func(e misuseEnv) error { return e.fanout().Send(released()) }},
	{"Conn.WriteShared", "no Shared", func(e misuseEnv) error { return wantNothing(e.c.WriteShared(nil)) }},
	{"Conn.WriteShared", "a released Shared", func(e misuseEnv) error { return wantNothing(e.c.WriteShared(released())) }},

	{"Conn.SetWatermarks", "a negative high one", func(e misuseEnv) error { return e.c.SetWatermarks(-1, 0) }},
	{"Conn.SetWatermarks", "a high one above MaxUnsentBytes", func(e misuseEnv) error { return e.c.SetWatermarks(math.MaxInt, 0) }},
	{"Conn.SetWatermarks", "a low one above the high one", func(e misuseEnv) error { return e.c.SetWatermarks(10, 11) }},
	{"Conn.SetWatermarks", "a negative low one", func(e misuseEnv) error { return e.c.SetWatermarks(10, -1) }},
	{"Conn.SetReadBuffer", "zero", func(e misuseEnv) error { return e.c.SetReadBuffer(0) }},
	{"Conn.SetReadBuffer", "more than 32 bits", func(e misuseEnv) error { return e.c.SetReadBuffer(math.MinInt) }},
	{"Conn.SetWriteBuffer", "a negative number", func(e misuseEnv) error { return e.c.SetWriteBuffer(-1) }},
	{"Conn.SetUserTimeout", "a negative time", func(e misuseEnv) error { return e.c.SetUserTimeout(-1) }},
	{"Conn.SetUserTimeout", "a time that is too long", func(e misuseEnv) error { return e.c.SetUserTimeout(math.MaxInt64) }},
	{"Conn.SetKeepAlive", "a count out of range", func(e misuseEnv) error {
		return e.c.SetKeepAlive(net.KeepAliveConfig{Enable: true, Count: 128})
	}},
}

var misusesOfPackets = []misuse{
	{"PacketConn.Connect", "no address", func(e misuseEnv) error { return e.p.Connect(netip.AddrPort{}) }},
	{"PacketConn.Connect", "an address of another family", func(e misuseEnv) error { return e.p.Connect(ip6) }},
	{"PacketConn.WriteTo", "no address", func(e misuseEnv) error { return wantNothing(e.p.WriteTo([]byte("x"), netip.AddrPort{})) }},
	{"PacketConn.WriteTo", "an address of another family", func(e misuseEnv) error { return wantNothing(e.p.WriteTo([]byte("x"), ip6)) }},
	{"PacketConn.WriteBatch", "an address of another family", func(e misuseEnv) error {
		return wantNothing(e.p.WriteBatch([]sock.Message{{Data: []byte("x"), Addr: ip6}}))
	}},
	{"PacketConn.JoinGroup", "an address that is not multicast", func(e misuseEnv) error { return e.p.JoinGroup(loopback.Addr(), 0) }},
	{"PacketConn.JoinGroup", "no address", func(e misuseEnv) error { return e.p.JoinGroup(netip.Addr{}, 0) }},
	{"PacketConn.JoinGroup", "a negative index", func(e misuseEnv) error { return e.p.JoinGroup(multicast, -1) }},
	{"PacketConn.LeaveGroup", "an address that is not multicast", func(e misuseEnv) error { return e.p.LeaveGroup(loopback.Addr(), 0) }},
	{"PacketConn.LeaveGroup", "a negative index", func(e misuseEnv) error { return e.p.LeaveGroup(multicast, -1) }},
	{"PacketConn.SetTTL", "zero", func(e misuseEnv) error { return e.p.SetTTL(0) }},
	{"PacketConn.SetTTL", "256", func(e misuseEnv) error { return e.p.SetTTL(256) }},
	{"PacketConn.SetMulticastTTL", "a negative number", func(e misuseEnv) error { return e.p.SetMulticastTTL(-1) }},
	{"PacketConn.SetMulticastTTL", "256", func(e misuseEnv) error { return e.p.SetMulticastTTL(256) }},
	{"PacketConn.SetMulticastInterface", "a negative index", func(e misuseEnv) error { return e.p.SetMulticastInterface(-1) }},
	{"PacketConn.SetReadBuffer", "zero", func(e misuseEnv) error { return e.p.SetReadBuffer(0) }},
	{"PacketConn.SetWriteBuffer", "a negative number", func(e misuseEnv) error { return e.p.SetWriteBuffer(-1) }},
}

var misusesOfOptions = []misuse{
	{"Group.Listen", "an option for others", func(e misuseEnv) error {
		_, err := e.g.Listen("tcp", "127.0.0.1:0", e.neverAccept, sock.LocalAddr(loopback))
		return err
	}},
	{"Group.ListenPacket", "an option for others", func(e misuseEnv) error {
		_, err := e.g.ListenPacket("udp", "127.0.0.1:0", e.neverPackets, sock.Backlog(1))
		return err
	}},
	{"Group.Dial", "an option out of range", func(e misuseEnv) error {
		_, err := e.g.Dial(bg, "tcp", e.addr, e.neverAccept, sock.ReadBuffer(0))
		return err
	}},
	{"Loop.Dial", "a nil option", func(e misuseEnv) error { return e.l.Dial(bg, "tcp", e.addr, e.neverAccept, e.neverDialed, nil) }},
	{"Group.Serve", "an option for sockets that are not open", func(e misuseEnv) error {
		_, err := e.g.Serve(e.tcp(), e.neverAccept, sock.ReusePort(false))
		return err
	}},
	{"Group.ServeUnix", "an option for TCP", func(e misuseEnv) error {
		_, err := e.g.ServeUnix(e.unix(), e.neverAccept, sock.NoDelay(true))
		return err
	}},
	{"Group.ServePacket", "an option for TCP", func(e misuseEnv) error {
		_, err := e.g.ServePacket(e.udp(), e.neverPackets, sock.NoDelay(true))
		return err
	}},
	{"Loop.Attach", "an option for others", func(e misuseEnv) error { return e.l.Attach(e.netConn(), nil, e.neverAccept, sock.Backlog(1)) }},
	{"Group.Attach", "a nil option", func(e misuseEnv) error { return e.g.Attach(e.netConn(), nil, e.neverAccept, nil) }},
	{"Loop.AttachStream", "an option out of range", func(e misuseEnv) error { return e.l.AttachStream(e.stream(), nil, e.neverAccept, sock.WriteBuffer(0)) }},

	{"Conn.SetHandler", "no handler", func(e misuseEnv) error { return e.c.SetHandler(nil) }},
	{"Conn.Detach", "no function", func(e misuseEnv) error { return e.c.Detach(nil) }},
	{"Conn.DetachStream", "no function", func(e misuseEnv) error { return e.c.DetachStream(nil) }},
}

// permitted has the functions whose arguments are all valid, or are checked elsewhere, with the
// reason.
var permitted = map[string]string{
	"NewGroup":                    "TestBadConfig",
	"Loop.AfterFunc":              "TestMisusePanics",
	"Timer.Reset":                 "each time is valid: TestUnusualArguments",
	"Watch.Stop":                  "done may be nil: TestUnusualArguments",
	"Conn.AbortWith":              "each error is valid",
	"Conn.CloseWith":              "each error is valid",
	"Conn.SetBackpressure":        "a bool",
	"Conn.SetNoDelay":             "a bool",
	"Conn.SetIdleTimeout":         "each time is valid: TestUnusualArguments",
	"Conn.SetReadDeadline":        "each time is valid: TestUnusualArguments",
	"Conn.SetWriteTimeout":        "each time is valid: TestUnusualArguments",
	"Conn.Write":                  "each slice is valid: TestUnusualArguments",
	"Conn.TryWrite":               "each slice is valid: TestTryWriteFails",
	"Conn.Writev":                 "each slice is valid: TestUnusualArguments",
	"Conn.WriteOwned":             "done may be nil: TestUnusualArguments",
	"PacketConn.Write":            "each slice is valid",
	"PacketConn.SetBroadcast":     "a bool",
	"PacketConn.SetMulticastLoop": "a bool",
	"NewFanout":                   "TestMisusePanics",
	"NewSharedFunc":               "TestMisusePanics",
	"NewShared":                   "each slice is valid: TestUnusualArguments",
	"Fanout.Remove":               "each connection, nil too, is valid: TestUnusualArguments",
	"AbortSlow":                   "a Fanout calls it",
	"SkipSlow":                    "a Fanout calls it",
}

func (e misuseEnv) neverAccept(*loop.Conn) loop.Handler {
	e.Error("accept was called")
	return nil
}

func (e misuseEnv) neverPackets(*loop.PacketConn) loop.PacketHandler {
	e.Error("the function for a packet handler was called")
	return nil
}

func (e misuseEnv) neverInt(int, error)           { e.Error("done was called") }
func (e misuseEnv) neverDialed(*loop.Conn, error) { e.Error("Dial's done was called") }
func (e misuseEnv) neverReady(pollux.Event)       { e.Error("a watch's function was called") }

// newMisuseEnv returns an environment, and a function that checks that it is as at the beginning.
func newMisuseEnv(t *testing.T) (e misuseEnv, check func(what string)) {
	e = misuseEnv{T: t, g: group(t, loop.Config{Loops: 2, Logger: quiet()})}
	e.l = e.g.Loops()[0]
	e.accept = func(*loop.Conn) loop.Handler { return echo{} }
	ln, err := e.g.Listen("tcp", "127.0.0.1:0", e.accept)
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr().String()
	echoed := make(chan string, 1)
	e.peers = startEchoServer(t)
	e.c, err = e.g.Dial(bg, "tcp", e.peers, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { echoed <- string(b); return len(b), nil }}
	})
	if err != nil {
		t.Fatal(err)
	}
	packets := make(chan *loop.PacketConn, 2)
	if _, err = e.g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler { packets <- p; return packetBatchEcho{} }); err != nil {
		t.Fatal(err)
	}
	e.p = receive(t, packets, "the packet socket")
	e.tcp = func() *sock.TCPListener { return opened[*sock.TCPListener](t)(sock.ListenTCP(loopback, onNet(t)...)) }
	e.udp = func() *sock.UDPSocket { return opened[*sock.UDPSocket](t)(sock.ListenUDP(loopback, onNet(t)...)) }
	e.unix = func() *sock.UnixListener {
		if sys.OnWine() {
			return nil // it has no Unix sockets; nil is a misuse, too
		}
		return opened[*sock.UnixListener](t)(sock.ListenUnix(filepath.Join(t.TempDir(), "s"), onNet(t)...))
	}
	return e, func(what string) {
		t.Helper()
		if n, listeners := e.g.Conns(), e.g.Listeners(); n != 1 || listeners != 1 {
			t.Errorf("%s: %d connections and %d listeners afterwards, want 1 and 1", what, n, listeners)
		}
		if _, err := e.c.Write([]byte("x")); err != nil {
			t.Fatalf("%s: Write afterwards: %v", what, err)
		}
		if s := receive(t, echoed, what+": the echo afterwards"); s != "x" {
			t.Errorf("%s: the echo afterwards is %q, want x", what, s)
		}
	}
}

// opened returns a function that returns a new socket, which the test closes at its end.
func opened[S io.Closer](t *testing.T) func(S, error) S {
	return func(s S, err error) S {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
}

// An invalid argument is an error at once, which wraps ErrBadArgument and names the call, and has
// no effect.
func TestMisuse(t *testing.T) {
	e, check := newMisuseEnv(t)
	for _, m := range misuses {
		what := m.function + " with " + m.argument
		err := m.call(e)
		if e.g.Backend() == "overlapped" && strings.Contains(m.function, "Attach") && errors.Is(err, errors.ErrUnsupported) {
			continue // the driver cannot serve the sockets of package net, whatever the options
		}
		if !errors.Is(err, loop.ErrBadArgument) {
			t.Errorf("%s: got %v, want ErrBadArgument", what, err)
			continue
		}
		var op *net.OpError
		if s := err.Error(); m.function != "Resolve" && !errors.As(err, &op) && !strings.HasPrefix(s, "loop: ") {
			t.Errorf("%s: got %q, want a net.OpError, or a text that begins with the package", what, s)
		}
		check(what)
	}
	if err := e.g.Shutdown(canceledContext()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Each exported function with parameters is in the tables.
func TestMisuseIsComplete(t *testing.T) {
	known := map[string]bool{}
	for _, m := range misuses {
		known[m.function] = true
	}
	for name := range permitted {
		if known[name] {
			t.Errorf("%s is in both tables", name)
		}
		known[name] = true
	}
	exported := exportedFunctions(t)
	for _, name := range exported {
		if !known[name] {
			t.Errorf("no table has %s: add a call with each invalid argument, or the reason why it needs no row", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("the tables have %s, which takes no argument, or is not exported", name)
	}
}

// exportedFunctions returns the exported functions of the package that have parameters, and the
// methods of exported types, in the form Type.Method.
func exportedFunctions(t *testing.T) (names []string) {
	files, err := filepath.Glob("*.go")
	if err != nil || !slices.Contains(files, "loop.go") {
		t.Skip("skipped: the source is not here")
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Name.IsExported() && d.Type.Params.NumFields() > 0 {
				switch receiver := receiverName(d); {
				case d.Recv == nil:
					names = append(names, d.Name.Name)
				case ast.IsExported(receiver):
					names = append(names, receiver+"."+d.Name.Name)
				}
			}
		}
	}
	return names
}

// receiverName returns the name of the type of a method's receiver, or "" for a function.
func receiverName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	x := d.Recv.List[0].Type
	if p, ok := x.(*ast.StarExpr); ok {
		x = p.X
	}
	if i, ok := x.(*ast.Ident); ok {
		return i.Name
	}
	return ""
}

// A function without an error result panics, in the name of the package.
func TestMisusePanics(t *testing.T) {
	e, check := newMisuseEnv(t)
	for what, f := range map[string]func(){
		"AfterFunc without a function":                                      func() { e.l.AfterFunc(0, nil) },
		"WatchLater without a source, and without a function for the error": func() { e.l.WatchLater(nil, pollux.Readable, e.neverReady, nil) },
		"NewSharedFunc without a function":                                  func() { loop.NewSharedFunc([]byte("x"), nil) },
		"a second Release":                                                  func() { released().Release() },
		"NewFanout with a negative MaxUnsentBytes":                          func() { loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: -1}) },
		"NewFanout with a negative MaxPendingMessages":                      func() { loop.NewFanout(loop.FanoutConfig{MaxPendingMessages: -1}) },
		"NewFanout with a negative MaxPendingBytes":                         func() { loop.NewFanout(loop.FanoutConfig{MaxPendingBytes: -1}) },
		"WatchLater without functions":                                      func() { e.l.WatchLater(e.udp(), pollux.Readable, nil, nil) },
	} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.HasPrefix(s, "loop: ") {
					t.Errorf("%s: the panic is %q, want a text that begins with the package", what, s)
				}
			}()
			f()
			t.Errorf("%s has returned, want a panic", what)
		}()
		check(what)
	}
}

// Zero, negative, nil and empty arguments that are valid.
func TestUnusualArguments(t *testing.T) {
	e, check := newMisuseEnv(t)
	fired := make(chan bool, 2)
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		check(what)
	}
	n, err := e.c.Write(nil)
	ok("Write of nothing", errors.Join(err, wantZero(n)))
	n, err = e.c.Writev(nil)
	ok("Writev of nothing", errors.Join(err, wantZero(n)))
	n, err = e.c.Writev([][]byte{nil, {}})
	ok("Writev of empty slices", errors.Join(err, wantZero(n)))
	n, err = e.c.WriteOwned(nil, nil)
	ok("WriteOwned of nothing", errors.Join(err, wantZero(n)))
	n, err = e.c.WriteShared(loop.NewShared(nil))
	ok("WriteShared of nothing", errors.Join(err, wantZero(n)))
	f := e.fanout()
	ok("Send of nothing", f.Send(loop.NewShared(nil)))
	if f.Remove(nil) {
		t.Error("Remove(nil) reports a membership")
	}
	ok("SetReadDeadline with the zero time", e.c.SetReadDeadline(time.Time{}))
	for _, d := range []time.Duration{0, -1, math.MinInt64} {
		ok("SetIdleTimeout", e.c.SetIdleTimeout(d))
		ok("SetWriteTimeout", e.c.SetWriteTimeout(d))
		tm := e.l.AfterFunc(d, func() { fired <- true })
		receive(t, fired, "a timer of the past")
		tm.Reset(d)
		receive(t, fired, "a timer that was reset to the past")
	}
	n, err = e.p.WriteBatch(nil)
	ok("WriteBatch of nothing", errors.Join(err, wantZero(n)))
	ok("Offload without done", loop.Offload(e.c, workOne, nil))
	w, err := e.l.Watch(bg, e.udp(), pollux.Readable, func(pollux.Event) {})
	ok("Watch", err)
	w.Stop(nil)
	ok("Stop without done", nil)
}

func wantZero(n int) error {
	if n != 0 {
		return fmt.Errorf("got %d, want 0", n)
	}
	return nil
}

// Each method of a closed connection that returns an error returns ErrClosed; so it is in Closed.
func TestMethodsOfAClosedConn(t *testing.T) {
	closed, all := make(chan *loop.Conn, 1), make(chan bool)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{closed: func(c *loop.Conn, _ error) {
			callAll(t, "in Closed", c)
			closed <- c
			close(all)
		}}
	})
	c.Close()
	s := receive(t, closed, "Closed")
	receive(t, all, "Closed")
	callAll(t, "after Closed", s)
	if err := s.SetNoDelay(true); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("SetNoDelay: got %v, want ErrClosed", err)
	}
}

// callAll calls each method of a closed connection whose last result is an error.
func callAll(t *testing.T, when string, c *loop.Conn) {
	v := reflect.ValueOf(c)
	called := 0
	for i := range v.NumMethod() {
		name, m := v.Type().Method(i).Name, v.Method(i)
		results := m.Type().NumOut()
		if results == 0 || m.Type().Out(results-1) != reflect.TypeFor[error]() {
			continue
		}
		called++
		args := make([]reflect.Value, m.Type().NumIn())
		for k := range args {
			args[k] = someArgument(t, name, m.Type().In(k))
		}
		call := m.Call
		if m.Type().IsVariadic() {
			call = m.CallSlice
		}
		err, _ := call(args)[results-1].Interface().(error)
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("%s %s: got %v, want ErrClosed", name, when, err)
		}
	}
	if called < 15 {
		t.Errorf("%d methods were called, want at least 15", called)
	}
}

// someArgument returns a valid argument of a type.
func someArgument(t *testing.T, method string, x reflect.Type) reflect.Value {
	switch {
	case x == reflect.TypeFor[loop.Handler]():
		return reflect.ValueOf(echo{})
	case x == reflect.TypeFor[[]byte]():
		return reflect.ValueOf([]byte("x"))
	case x == reflect.TypeFor[*loop.Shared]():
		return reflect.ValueOf(loop.NewShared([]byte("x")))
	case x.Kind() == reflect.Func:
		return reflect.MakeFunc(x, func([]reflect.Value) []reflect.Value {
			t.Errorf("the function given to %s was called, although the connection is closed", method)
			return nil
		})
	}
	return reflect.Zero(x)
}

// The function of Loop.Dial may be nil.
func TestDialWithoutFunction(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l, refusing := listenFull(t)
	l.Close()
	opened := make(chan bool)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{refusing, ln.Addr().String()} {
		if err := g.Loops()[0].Dial(context.Background(), "tcp", to, func(*loop.Conn) loop.Handler { close(opened); return echo{} }, nil); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, opened, "the connection")
}

// If a dialed connection ends before Dial returns, Dial returns the reason as an error.
func TestDialOfConnThatEnds(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		accept func(*loop.Conn) loop.Handler
		is     func(error) bool
	}{
		"no handler": {
			func(*loop.Conn) loop.Handler { return nil },
			func(err error) bool { return strings.Contains(err.Error(), "returned nil") },
		},
		"a panic": {
			func(*loop.Conn) loop.Handler { panic("no") },
			func(err error) bool { var p *loop.PanicError; return errors.As(err, &p) },
		},
		"Abort by Opened": {
			func(*loop.Conn) loop.Handler { return &funcs{opened: func(c *loop.Conn) { c.Abort() }} },
			func(err error) bool { return errors.Is(err, loop.ErrAborted) },
		},
	} {
		c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), x.accept)
		var op *net.OpError
		if c != nil || err == nil || !x.is(err) || !errors.As(err, &op) || op.Op != "dial" || op.Addr.String() != ln.Addr().String() {
			t.Errorf("%s: Dial = %v, %v, want the reason in a net.OpError", what, c, err)
		}
	}
}

// A connection that Dial returns without an error is open, whenever its context ends.
func TestDialReturnsOpenConn(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	var opened, gaveUp int
	for end := time.Now().Add(time.Second); time.Now().Before(end) || opened == 0 || gaveUp == 0; {
		// From too short to long enough, in steps without a common multiple.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration((opened+gaveUp)%307)*time.Microsecond)
		c, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
		cancel()
		switch {
		case err == nil:
			opened++
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("the first Write after Dial failed: %v", err)
			}
			c.Abort()
		case errors.Is(err, context.DeadlineExceeded):
			gaveUp++
		default:
			t.Fatal(err)
		}
		if time.Since(end) > testTimeout {
			t.Fatalf("%d dials succeeded and %d timed out, want both kinds", opened, gaveUp)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if c, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} }); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a canceled context = %v, %v, want Canceled", c, err)
	}
}

// Shutdown returns soon after its context ends, even if functions do not return, and reports how
// many.
func TestL8ShutdownWithBlockedFunctions(t *testing.T) {
	for what, x := range map[string]struct {
		block            func(l *loop.Loop, until chan bool)
		loops, offloaded int
	}{
		"a callback": {func(l *loop.Loop, until chan bool) { l.Run(func() { <-until }) }, 1, 0},
		"an offloaded function": {func(l *loop.Loop, until chan bool) {
			loop.Offload(l, func() (any, error) { <-until; return nil, nil }, func(any, error) {})
		}, 0, 1},
	} {
		t.Run(what, func(t *testing.T) {
			g, err := newGroup(t, loop.Config{Loops: 2, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			until := make(chan bool)
			x.block(g.Loops()[0], until)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			var left *loop.ShutdownError
			err = g.Shutdown(ctx)
			if !errors.As(err, &left) || left.Loops != x.loops || left.Offloaded != x.offloaded || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: got %v, want a ShutdownError of DeadlineExceeded, %d loops, %d offloaded", err, x.loops, x.offloaded)
			}
			close(until)
			if err := g.Shutdown(context.Background()); err != nil { // the function has returned
				t.Errorf("second Shutdown: %v", err)
			}
		})
	}
}

// Concurrent calls of Shutdown return the same error.
func TestL8ShutdownTwice(t *testing.T) {
	g, err := newGroup(t, loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, ln.Addr()))
	cause := errors.New("it is late")
	ctx, cancel := context.WithCancelCause(context.Background())
	var both sync.WaitGroup
	for _, ctx := range []context.Context{context.Background(), ctx} {
		both.Go(func() {
			var cut *loop.ShutdownError
			if err := g.Shutdown(ctx); !errors.As(err, &cut) || cut.Conns != 1 || !errors.Is(err, cause) {
				t.Errorf("Shutdown: got %v, want a ShutdownError of the cause with 1 connection", err)
			}
		})
	}
	waitBlocked(t, "loop.(*Group).Shutdown", 2)
	cancel(cause)
	both.Wait()
}

// After Shutdown, a method with a callback calls it immediately, or returns an error.
func TestCallbacksAfterShutdown(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	l := g.Loops()[0]
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	w, err := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(func() { t.Error("a function of Run was called after Shutdown") }); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Run: got %v, want ErrClosed", err)
	}
	calls := 0
	l.WatchLater(u, pollux.Readable, func(pollux.Event) {}, func(err error) {
		calls++
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("WatchLater: got %v, want ErrClosed", err)
		}
	})
	w.Stop(func() { calls++ })
	if calls != 2 {
		t.Errorf("%d callbacks were called, want 2", calls)
	}
	skipOnSimulation(t, "a Poll takes no sockets of it")
	q, err := pollux.New() // the source is free again
	if errors.Is(err, pollux.ErrBackend) {
		t.Skip("skipped in part: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Register(u, 1, pollux.Readable, pollux.Edge); err != nil {
		t.Error(err)
	}
}

// A source can be registered once only; the error reports whether this loop or another one has it.
func TestWatchRegisteredSource(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	l, other := g.Loops()[0], g.Loops()[1]
	w, err := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {}); !errors.Is(err, pollux.ErrRegistered) {
		t.Errorf("second Watch on the same loop: got %v, want ErrRegistered", err)
	}
	if _, err := other.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {}); !errors.Is(err, pollux.ErrOtherPoll) {
		t.Errorf("Watch on another loop: got %v, want ErrOtherPoll", err)
	}
	stopped := make(chan bool)
	w.Stop(func() { close(stopped) })
	receive(t, stopped, "Stop")
	if _, err := other.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {}); err != nil {
		t.Errorf("Watch on another loop after Stop: %v", err)
	}
	u.Close()
	if _, err := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {}); !errors.Is(err, pollux.ErrSourceClosed) {
		t.Errorf("Watch of a closed source: got %v, want ErrSourceClosed", err)
	}
}

// Each field of Config has a range; the error names the field.
func TestBadConfig(t *testing.T) {
	for field, c := range map[string]loop.Config{
		"Loops is -1":            {Loops: -1},
		"Loops is 5000":          {Loops: 5000},
		"BusyPoll":               {BusyPoll: pollux.MaxBusyPoll + 1},
		"MaxConns":               {MaxConns: -1},
		"HighWatermarkBytes":     {HighWatermarkBytes: -1, LowWatermarkBytes: 1, MaxUnsentBytes: 1},
		"LowWatermarkBytes":      {LowWatermarkBytes: 10, HighWatermarkBytes: 5},
		"LowWatermarkBytes is -": {LowWatermarkBytes: -1},
		"MaxUnsentBytes":         {MaxUnsentBytes: 1, HighWatermarkBytes: 2},
		"MaxUnreadBytes":         {MaxUnreadBytes: -1},
		"TurnBudgetBytes":        {TurnBudgetBytes: -1},
		"IdleBufferBytes":        {IdleBufferBytes: -1},
		"LingerTimeout":          {LingerTimeout: -1},
		"MaxLinger":              {MaxLinger: 1},
		"IdleTimeout":            {IdleTimeout: -1},
		"WriteTimeout":           {WriteTimeout: -1},
		"KeepAlive":              {KeepAlive: net.KeepAliveConfig{Idle: 1}},
		"Count":                  {KeepAlive: net.KeepAliveConfig{Enable: true, Count: 128}},
		"OffloadWorkers is -1":   {OffloadWorkers: -1},
		"OffloadQueue -1":        {OffloadQueue: -1},
		"MaxQueuedFuncs is -1":   {MaxQueuedFuncs: -1},
		"MaxQueuedFuncs":         {MaxQueuedFuncs: math.MaxInt32},
	} {
		g, err := newGroup(t, c)
		if g != nil || !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), field) {
			t.Errorf("NewGroup with a bad field: got %v, %v, want ErrBadArgument that contains %q", g, err, field)
		}
	}
	if _, err := newGroup(t, loop.Config{Backend: "carrier-pigeon"}); !errors.Is(err, pollux.ErrBackend) && os.Getenv(pollux.BackendEnv) == "" && hostOf(t) == nil {
		t.Errorf("NewGroup with an unknown backend: got %v, want ErrBackend", err)
	}
}
