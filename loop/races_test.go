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

	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Shutdown ends dials that are in progress: a connection that opens afterwards would never
// be told to finish.
func TestL8ShutdownEndsDials(t *testing.T) {
	full, waiting := listenFull(t)
	defer full.Close()
	g, err := loop.NewGroup(loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := g.Dial(context.Background(), "tcp", waiting, func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
	}()
	for end := time.Now().Add(testTimeout); g.Stats().Loops[0].Conns == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the dial has not begun")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	err = receive(t, ended, "the end of the dial")
	if err == nil || !errors.Is(err, loop.ErrShutdown) && !errors.Is(err, loop.ErrClosed) {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "connect" {
			t.Skip("the system does not let it wait: ", err)
		}
		t.Errorf("Dial: %v", err)
	}
}

// An urgent mark ends a read early, and what is behind it makes no news of its own.
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
		t.Skip("skipped with kqueue: an event tells that there is urgent data on some systems only (docs/platforms.md)")
	}
	s, err := sock.ConnectTCP(netip.MustParseAddrPort(ln.Addr().String()))
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
	time.Sleep(20 * time.Millisecond) // for all of it to be there
	c.Resume()
	for all := ""; all != "abcdef" && all != "abc!def"; {
		all += receive(t, got, "all, but "+all)
	}
}

// The methods of a connection are for any goroutine, also while it fails. For the race
// detector.
func TestMethodsWhileItFails(t *testing.T) {
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

// ListenPacket and Shutdown at once: nothing panics, and no socket is left.
func TestListenPacketAgainstShutdown(t *testing.T) {
	open := conformance.Sockets().OpenDescriptors
	if open == nil {
		t.Skip("descriptors are not counted: the system cannot tell how many are open")
	}
	round := func(i int) {
		var log bytes.Buffer
		g, err := loop.NewGroup(loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
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
			t.Error(log.String())
		}
	}
	round(0)
	before := open()
	for i := range 300 {
		round(i)
	}
	for end := time.Now().Add(testTimeout); open() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, %d were before", open(), before)
		}
	}
}

// A connection with a byte is served though hundreds that have none, and some that have
// much, are resumed with it: on io_uring there are not buffers for all at once.
func TestByteAmongMany(t *testing.T) {
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
	for i := range busy + idle + 1 {
		p := dial(t, ln.Addr())
		all = append(all, receive(t, conns, "a connection"))
		switch {
		case i < busy:
			p.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
			p.Write(make([]byte, 50<<10))
		case i == busy+idle:
			p.Write([]byte("x"))
		}
	}
	time.Sleep(20 * time.Millisecond) // for the bytes to be there
	g.Loops()[0].Run(func() {
		for _, c := range all {
			c.Resume()
		}
	})
	receive(t, got, "the byte")
}

// A listener's Close beside Shutdown leaves nothing open either.
func TestListenerCloseAgainstShutdown(t *testing.T) {
	open := conformance.Sockets().OpenDescriptors
	if open == nil {
		t.Skip("descriptors are not counted: the system cannot tell how many are open")
	}
	round := func() {
		g, err := loop.NewGroup(loop.Config{Loops: 1, Logger: quiet()})
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
	before := open()
	n := 2000
	if testing.Short() || raceEnabled {
		n = 300
	}
	for range n {
		round()
	}
	for end := time.Now().Add(testTimeout); open() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, %d were before", open(), before)
		}
	}
}

// A client that sends its request and FIN, and takes the answer slowly or not at all, costs no
// turns while nothing moves.
func TestHalfClosedSlowReader(t *testing.T) {
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
	for try := 0; ; try++ { // the system's buffers have to fill before
		before := turns()
		time.Sleep(200 * time.Millisecond)
		if moved = turns() - before; moved < 20 || try == 20 {
			break
		}
	}
	if moved >= 20 {
		t.Errorf("nothing moved for 200 ms, which took %d turns", moved)
	}
	if n, err := io.CopyN(io.Discard, c, 32<<20); err != nil {
		t.Errorf("%d bytes came, then %v", n, err)
	}
}
