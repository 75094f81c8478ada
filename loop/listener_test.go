package loop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Once Close has returned, connecting fails, and the address can be bound again.
func TestListenerCloseIsSynchronous(t *testing.T) {
	for _, loops := range []int{1, 3} {
		g := group(t, loop.Config{Loops: loops, SlowCallback: -1, Logger: failOnLog(t)})
		network, at := "tcp", "127.0.0.1:0"
		var taken addressInUse
		for range 20 {
			ln, err := g.Listen(network, at, func(*loop.Conn) loop.Handler { return echo{} })
			if taken.tolerates(err) {
				at = "127.0.0.1:0"
				continue
			}
			if err != nil {
				t.Fatalf("Listen with %d loops: %v", loops, err)
			}
			at = ln.Addr().String()
			c := dial(t, ln.Addr())
			checkEcho(t, c)
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
			if c, err := dialNet(t, network, at); err == nil {
				c.Close()
				if !sys.OnWine() { // where the socket is closed once no poll refers to it
					t.Fatalf("%d loops: connected to a closed listener", loops)
				}
			}
			// The accepted connection goes on.
			checkEcho(t, c)
			if err := ln.Close(); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("second Close: got %v, want ErrClosed", err)
			}
		}
	}
}

// checkEcho checks that five bytes are echoed.
func checkEcho(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// The same for Unix sockets, whose path is removed by Close.
func TestUnixListenerCloseIsSynchronous(t *testing.T) {
	testkit.SkipOnWine(t, "it has no Unix sockets")
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1, Logger: failOnLog(t)})
	at := filepath.Join(t.TempDir(), "s")
	for range 20 {
		ln, err := g.Listen("unix", at, func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialNet(t, "unix", at)
		checkEchoAndClose(t, c, err)
		ln.Close()
		if c, err := dialNet(t, "unix", at); err == nil {
			c.Close()
			t.Fatal("connected to a closed listener")
		}
	}
}

// A Listen that is in progress during Shutdown returns ErrClosed, as one that follows it.
func TestListenDuringShutdown(t *testing.T) {
	testkit.SkipOnWine(t, "connecting to a closed listener succeeds for a while")
	for range 10 {
		g, err := newGroup(t, loop.Config{Loops: 2, SlowCallback: -1, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		g.SetPatience(time.Hour) // or Listen succeeds before Shutdown on a slow machine
		release := make(chan bool)
		for _, l := range g.Loops() {
			l.Run(func() { <-release })
		}
		l, err := listenNet(t, "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().String()
		l.Close()
		listens := func() bool {
			c, err := dialNet(t, "tcp", at)
			if err == nil {
				c.Close()
			}
			return err == nil
		}
		listened, down := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := g.Listen("tcp", at, func(*loop.Conn) loop.Handler { return echo{} })
			listened <- err
		}()
		// Connecting successfully does not suffice: Listen first checks whether the port is free,
		// with a socket that it closes again.
		for g.Listeners() == 0 && len(listened) == 0 {
			runtime.Gosched()
		}
		go func() { down <- g.Shutdown(context.Background()) }()
		for listens() {
		}
		close(release)
		if err := receive(t, listened, "Listen's return"); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("Listen: got %v, want ErrClosed", err)
		}
		receive(t, down, "Shutdown")
	}
}

// Serving a socket that a loop or a Poll has already registered is an error.
func TestServeRegisteredSocket(t *testing.T) {
	skipOnSimulation(t, "a Poll takes no sockets of it")
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	if g.Backend() == "overlapped" {
		t.Skip("a listener that another completion port has is served by readiness")
	}
	serve := func(l *sock.TCPListener) error {
		_, err := g.Serve(l, func(*loop.Conn) loop.Handler { return echo{} })
		return err
	}
	servePacket := func(u *sock.UDPSocket) error {
		_, err := g.ServePacket(u, func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
		return err
	}
	t.Setenv(pollux.BackendEnv, "") // it may name a backend that is for loops only
	q, err := pollux.New()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, want := range []error{pollux.ErrRegistered, pollux.ErrOtherPoll} {
		l, err := sock.ListenTCP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		u, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		var first, firstPacket error
		if want == pollux.ErrRegistered {
			first, firstPacket = serve(l), servePacket(u)
		} else {
			first = q.Register(l, 1, pollux.Readable, pollux.Edge)
			firstPacket = q.Register(u, 2, pollux.Readable, pollux.Edge)
		}
		if first != nil || firstPacket != nil {
			t.Fatal(first, firstPacket)
		}
		if err := serve(l); !errors.Is(err, want) {
			t.Errorf("Serve: got %v, want %v", err, want)
		}
		if err := servePacket(u); !errors.Is(err, want) {
			t.Errorf("ServePacket: got %v, want %v", err, want)
		}
	}
}

// A listener may be closed while its loop begins to watch another source.
func TestListenerCloseDuringWatch(t *testing.T) {
	for range 20 {
		g := group(t, loop.Config{Loops: 1, Logger: quiet()})
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil {
			t.Fatal(err)
		}
		u, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		watched := make(chan error, 1)
		g.Loops()[0].WatchLater(u, pollux.Readable, func(pollux.Event) {}, func(err error) { watched <- err })
		ln.Close()
		if err := receive(t, watched, "the watch"); err != nil {
			t.Error(err)
		}
	}
}

// The error for an unknown network names the known ones.
func TestUnknownNetworks(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	_, listen := g.Listen("udp", "127.0.0.1:0", echoes)
	_, dial := g.Dial(context.Background(), "udp", "127.0.0.1:1", echoes)
	_, packet := g.ListenPacket("tcp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
	const streams = `"udp": unknown network; there are "tcp", "tcp4", "tcp6" and "unix"`
	for want, err := range map[string]error{
		streams + "; ListenPacket takes those of UDP": listen,
		streams: dial,
		`"tcp": unknown network; there are "udp", "udp4" and "udp6"; Listen takes those of TCP`: packet,
	} {
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want an error that ends in %s", err, want)
		}
	}
}
