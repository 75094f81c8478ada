package loop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A loop whose driver fails ends and reports the error. The other loops go on, and new work is
// never assigned to the failed one.
func TestDriverFails(t *testing.T) {
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	ended := make(chan error, 1000)
	listen := func() *loop.Listener {
		t.Helper()
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
			if c.Loop() == g.Loops()[1] {
				return &funcs{data: echo{}.Data, closed: func(_ *loop.Conn, why error) { ended <- why }}
			}
			return echo{}
		})
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	ln := listen()
	u, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
	if err != nil {
		t.Fatal(err)
	}
	var clients []net.Conn
	for g.Stats().Loops[1].Conns == 0 {
		c := dial(t, ln.Addr())
		ping(t, c)
		clients = append(clients, c)
	}
	pings := func() {
		t.Helper()
		for range 40 {
			c := dial(t, ln.Addr())
			ping(t, c)
			c.Close()
			if !sys.OnWine() { // package net's UDP does not work there
				pingPacket(t, u.Addr())
			}
		}
	}
	pings()

	failure := errors.New("the ring is broken")
	drivers()[1].Fail(failure)
	for !errors.Is(receive(t, ended, "Closed with the driver's error"), failure) {
	}
	l := g.Loops()[1]
	waitLoopEnd(t, l)
	pings()
	ln = listen()
	if u, err = g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} }); err != nil {
		t.Fatal(err)
	}
	pings()
	for range 10 {
		c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil {
			t.Fatal(err)
		}
		c.Abort()
	}
	if stats := g.Stats(); !errors.Is(stats.Loops[1].Failed, failure) || stats.Loops[0].Failed != nil || stats.Loops[1].Turns == 0 {
		t.Errorf("Stats after a driver failed: got %+v", stats.Loops)
	}
	for what, err := range map[string]error{
		"Run":  l.Run(func() {}),
		"Dial": l.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} }, nil),
	} {
		if !errors.Is(err, loop.ErrClosed) || !errors.Is(err, failure) {
			t.Errorf("%s on a failed loop: got %v, want ErrClosed with the driver's error", what, err)
		}
	}
	for _, c := range clients {
		c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// waitLoopEnd waits until a loop has ended.
func waitLoopEnd(t *testing.T, l *loop.Loop) {
	t.Helper()
	if !testkit.Eventually(func() bool { return l.Run(func() {}) != nil }) {
		t.Fatal("the loop has not ended after its driver failed")
	}
}

// With every loop failed, no call hangs.
func TestAllDriversFail(t *testing.T) {
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	failure := errors.New("the ring is broken")
	for _, d := range drivers() {
		d.Fail(failure)
	}
	for _, l := range g.Loops() {
		waitLoopEnd(t, l)
	}
	for what, f := range map[string]func() error{
		"Listen": func() error {
			_, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
			return err
		},
		"ListenPacket": func() error {
			_, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
			return err
		},
		"Dial": func() error {
			_, err := g.Dial(context.Background(), "tcp", "127.0.0.1:1", func(*loop.Conn) loop.Handler { return echo{} })
			return err
		},
		"Watch": func() error {
			u, err := sock.ListenUDP(loopback, onNet(t)...)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			_, err = g.Loops()[0].Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
			return err
		},
	} {
		if err := f(); !errors.Is(err, failure) || !errors.Is(err, loop.ErrClosed) {
			t.Errorf("%s with all loops failed: got %v, want ErrClosed with the driver's error", what, err)
		}
	}
}

// Every call on a group that has shut down returns an error that says so.
func TestErrorsAfterShutdown(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	l := g.Loops()[0]
	for _, l := range g.Loops() {
		runOnLoop(t, l, "a turn", func() {})
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, listen := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	_, dialed := g.Dial(context.Background(), "tcp", "127.0.0.1:1", func(*loop.Conn) loop.Handler { return echo{} })
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, watch := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {})
	_, nothing := l.Watch(context.Background(), nil, 0, nil)
	for what, err := range map[string]error{
		"Run":     l.Run(func() {}),
		"Offload": loop.Offload(l, func() (any, error) { return nil, nil }, nil),
		"Listen":  listen,
		"Dial":    dialed,
		"Watch":   watch,
	} {
		if !errors.Is(err, loop.ErrClosed) || !strings.Contains(err.Error(), "the group has shut down") || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(what)) {
			t.Errorf("%s after Shutdown: got %v, want ErrClosed that names the call", what, err)
		}
	}
	if !errors.Is(nothing, loop.ErrBadArgument) {
		t.Errorf("Watch of nil: got %v, want ErrBadArgument", nothing)
	}
	if s := g.Stats(); s.Loops[0].Turns == 0 || s.Loops[1].Turns == 0 {
		t.Errorf("Stats after Shutdown: got %+v, want turns of both loops", s.Loops)
	}
}

// Config returns the configuration with the defaults applied.
func TestConfigWithDefaults(t *testing.T) {
	g := group(t, loop.Config{Loops: 3, MaxUnreadBytes: 1000, Logger: quiet()})
	if c := g.Config(); c.Loops != 3 || c.MaxUnreadBytes != 1000 || c.HighWatermarkBytes != 256<<10 || c.LingerTimeout != 10*time.Second {
		t.Errorf("Config() = %+v", c)
	}
}

func TestL7TooManyConns(t *testing.T) {
	ln, d := fillMaxConnsByDial(t)
	defer d.Abort()
	err := d.Loop().Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} }, nil)
	var op *net.OpError
	if !errors.Is(err, loop.ErrTooManyConns) || !errors.As(err, &op) {
		t.Errorf("Dial above MaxConns: got %v, want a net.OpError of ErrTooManyConns", err)
	}
}

// pingPacket sends a datagram to an echo server and checks the answer.
func pingPacket(t *testing.T, to net.Addr) {
	t.Helper()
	c, err := dialNet(t, "udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	b := make([]byte, 8)
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "ping" {
		t.Fatalf("echo = %q, %v, want ping", b[:n], err)
	}
}

// ServePacket closes the socket also if all loops have failed.
func TestPacketSocketOfFailedLoop(t *testing.T) {
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	drivers()[0].Fail(errors.New("broken"))
	waitLoopEnd(t, g.Loops()[0])
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.ServePacket(u, func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} }); err == nil {
		t.Error("ServePacket on a failed loop succeeded")
	}
	if err := u.Close(); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("Close of the socket = %v, want ErrClosed: ServePacket has left it open", err)
	}
}

// Calls on a loop whose driver has failed return that error, not ErrShutdown: Offload, whose
// done function could never run, and a dial from the Closed callback that reports the failure.
func TestCallsOnAFailedLoop(t *testing.T) {
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	failure := errors.New("broken")
	l, other := g.Loops()[1], startEchoServer(t)
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	redialed, opened := make(chan error, 1), make(chan error, 1)
	err := l.Dial(context.Background(), "tcp", other, func(*loop.Conn) loop.Handler {
		return &funcs{closed: func(*loop.Conn, error) {
			if err := l.Dial(context.Background(), "tcp", other, echoes, func(_ *loop.Conn, err error) { redialed <- err }); err != nil {
				redialed <- err
			}
		}}
	}, func(_ *loop.Conn, err error) { opened <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := receive(t, opened, "the connection"); err != nil {
		t.Fatal(err)
	}
	drivers()[1].Fail(failure)
	for what, err := range map[string]error{
		"a dial in Closed": receive(t, redialed, "the second dial's result"),
		"Offload": func() error {
			waitLoopEnd(t, l)
			return loop.Offload(l, func() (int, error) { return 1, nil }, func(int, error) {})
		}(),
	} {
		if !errors.Is(err, failure) || errors.Is(err, loop.ErrShutdown) {
			t.Errorf("%s on a failed loop: got %v, want the driver's error", what, err)
		}
	}
}
