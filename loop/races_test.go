package loop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Shutdown cancels dials in progress: the Shutdown callback would not be called on a connection
// that opens afterwards.
func TestL8ShutdownEndsDials(t *testing.T) {
	full, hanging := listenFull(t)
	defer full.Close()
	g, err := newGroup(t, loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := g.Dial(context.Background(), "tcp", hanging, func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
	}()
	if !testkit.Eventually(func() bool { return g.Stats().Loops[0].Conns > 0 }) {
		t.Fatal("timed out waiting for the dial to begin")
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	err = receive(t, ended, "Dial's return")
	if err == nil || !errors.Is(err, loop.ErrShutdown) && !errors.Is(err, loop.ErrClosed) {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "connect" {
			t.Skip("connecting to a full backlog does not hang on this system: ", err)
		}
		t.Errorf("Dial: got %v, want ErrShutdown or ErrClosed", err)
	}
}

// A read ends at an urgent mark, and the bytes behind it cause no event of their own.
func TestUrgentMark(t *testing.T) {
	got := make(chan string, 10)
	conns := make(chan *loop.Conn, 1)
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Pause(); conns <- c },
			data:   func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(g.Backend(), "kqueue") {
		t.Skip("skipped with kqueue: only some systems report urgent data in an event (docs/platforms.md)")
	}
	s, err := sock.ConnectTCP(netip.MustParseAddrPort(ln.Addr().String()), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := receive(t, conns, "the connection")
	s.Write([]byte("abc"))
	if err := s.SendUrgent('!'); err != nil {
		t.Skip("no urgent data: ", err)
	}
	s.Write([]byte("def"))
	waitDelivered(t, s)
	c.Resume()
	for all := ""; all != "abcdef" && all != "abc!def"; {
		all += receive(t, got, "more than "+all)
	}
}

// The methods of a connection may be called from any goroutine, also while it fails. This test is
// for the race detector.
func TestMethodsWhileConnFails(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		conns <- c
		return echo{}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		p := dial(t, ln.Addr())
		c := receive(t, conns, "the connection")
		done := make(chan bool)
		go func() {
			time.Sleep(time.Duration(i%30) * 2 * time.Microsecond)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			close(done)
		}()
		p.SetLinger(0)
		p.Close()
		<-done
	}
}

// ListenPacket concurrent with Shutdown: nothing panics, and no socket leaks.
func TestListenPacketDuringShutdown(t *testing.T) {
	round := func(i int) {
		var log bytes.Buffer
		g, err := newGroup(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
			done <- err
		}()
		time.Sleep(time.Duration(i%60) * time.Microsecond)
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := receive(t, done, "ListenPacket"); err != nil && !errors.Is(err, loop.ErrClosed) {
			t.Error(err)
		}
		if log.Len() > 0 {
			t.Errorf("unexpected log: %s", log.String())
		}
	}
	round(0)
	before := testkit.CountUsage()
	for i := range 300 {
		round(i)
	}
	before.Check(t)
}

// A connection with one byte is served although hundreds without any, and some with many, are
// resumed at the same time: on io_uring there are not enough buffers for all.
func TestByteAmongManyConns(t *testing.T) {
	idle := 800
	if testing.Short() {
		idle = 100
	}
	const busy = 24
	conns := make(chan *loop.Conn, 1)
	got := make(chan bool, 1)
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Pause(); conns <- c },
			data: func(_ *loop.Conn, b []byte) (int, error) {
				if len(b) == 1 {
					got <- true
				}
				return len(b), nil
			},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []*loop.Conn
	var last tcpConn
	for i := range busy + idle + 1 {
		p := dial(t, ln.Addr())
		all = append(all, receive(t, conns, "a connection"))
		switch {
		case i < busy:
			p.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
			p.Write(make([]byte, 50<<10))
		case i == busy+idle:
			last = p
			p.Write([]byte("x"))
		}
	}
	waitDelivered(t, last)
	g.Loops()[0].Run(func() {
		for _, c := range all {
			c.Resume()
		}
	})
	receive(t, got, "the byte")
}

// A listener's Close concurrent with Shutdown leaks no descriptor either.
func TestListenerCloseDuringShutdown(t *testing.T) {
	round := func() {
		g, err := newGroup(t, loop.Config{Loops: 1, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil {
			t.Fatal(err)
		}
		pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { ln.Close() })
		all.Go(func() { pl.Close() })
		all.Go(func() {
			if err := g.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
	}
	round()
	before := testkit.CountUsage()
	n := 2000
	if testing.Short() || testkit.Race {
		n = 300
	}
	for range n {
		round()
	}
	before.Check(t)
}

// A client that sends its request and FIN, and reads the answer slowly or not at all, causes no
// turns while no byte moves.
func TestHalfClosedSlowReader(t *testing.T) { onBothClocks(t, testHalfClosedSlowReader) }

func testHalfClosedSlowReader(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:       func(c *loop.Conn, b []byte) (int, error) { c.Write(make([]byte, 32<<20)); return len(b), nil },
			readClosed: func(c *loop.Conn) {},
		}
	})
	c.Write([]byte("GET"))
	c.CloseWrite()
	turns := func() uint64 { return g.Stats().Loops[0].Turns }
	var moved uint64
	if !testkit.Eventually(func() bool { // the kernel's buffers have to fill first
		before := turns()
		time.Sleep(200 * time.Millisecond)
		moved = turns() - before
		return moved < 20
	}) {
		t.Errorf("%d turns in 200 ms in which nothing moved, want fewer than 20", moved)
	}
	if n, err := io.CopyN(io.Discard, c, 32<<20); err != nil {
		t.Errorf("the peer read %d bytes, then got %v", n, err)
	}
}
