package loop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Fault 4: the peer resets in mid-write: one error, one Closed.
func TestFaultResetInMidWrite(t *testing.T) {
	closed := make(chan error, 4)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	io.ReadFull(c, make([]byte, 1000))
	c.SetLinger(0)
	c.Close()
	why := receive(t, closed, "Closed")
	if !errors.Is(why, syscall.ECONNRESET) && !errors.Is(why, syscall.EPIPE) {
		t.Errorf("the reason is %v", why)
	}
	select {
	case again := <-closed:
		t.Errorf("Closed came again: %v", again)
	case <-time.After(20 * time.Millisecond):
	}
}

// Fault 5: half-close, both ways.
func TestFaultHalfClose(t *testing.T) {
	ends := make(chan string, 4)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:       func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
			readClosed: func(c *loop.Conn) { ends <- "eof"; c.Write([]byte("last words")); c.CloseWrite() },
			closed:     func(_ *loop.Conn, why error) { ends <- "closed" },
		}
	})
	c.Write([]byte("ping "))
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if string(got) != "ping last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if s := receive(t, ends, "ReadClosed"); s != "eof" {
		t.Errorf("first %q", s)
	}

	// The other way: this side ends first, and goes on reading.
	datas := make(chan string, 4)
	_, d := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("bye")); c.CloseWrite() },
			data:   func(_ *loop.Conn, b []byte) (int, error) { datas <- string(b); return len(b), nil },
		}
	})
	if got, err := io.ReadAll(d); string(got) != "bye" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	d.Write([]byte("still here"))
	if s := receive(t, datas, "data after CloseWrite"); s != "still here" {
		t.Errorf("%q", s)
	}
}

// Fault 15: a callback closes itself and its neighbours in the same batch.
func TestFaultCallbackClosesNeighbours(t *testing.T) {
	const n = 16
	var mu sync.Mutex
	var conns []*loop.Conn
	var datas atomic.Int32
	var closed sync.WaitGroup
	closed.Add(n)
	all := make(chan bool, n)
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
				all <- true
			},
			data: func(c *loop.Conn, b []byte) (int, error) {
				datas.Add(1)
				for _, other := range conns {
					other.Abort()
				}
				return len(b), nil
			},
			closed: func(*loop.Conn, error) { closed.Done() },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*net.TCPConn
	for range n {
		clients = append(clients, dial(t, ln.Addr()))
	}
	for range n {
		receive(t, all, "Opened")
	}
	// All of them have something to say in one batch.
	block := make(chan bool)
	g.Loops()[0].Run(func() { <-block })
	for _, c := range clients {
		c.Write([]byte("x"))
	}
	close(block)
	closed.Wait()
	if d := datas.Load(); d < 1 {
		t.Error("nobody got data")
	}
	if g.Conns() != 0 {
		t.Errorf("%d connections are left", g.Conns())
	}
}

func TestMaxConnsPauses(t *testing.T) {
	g := group(t, loop.Config{MaxConns: 2, Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := dial(t, ln.Addr()), dial(t, ln.Addr()), dial(t, ln.Addr())
	ping(t, a)
	ping(t, b)
	c.Write([]byte("ping"))
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := c.Read(make([]byte, 4)); err == nil {
		t.Error("a connection above MaxConns was served")
	}
	a.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Errorf("a connection that waited in the backlog: %v", err)
	}
}

func TestMaxConnsRefuses(t *testing.T) {
	g := group(t, loop.Config{MaxConns: 1, RefuseAbove: true, Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	a := dial(t, ln.Addr())
	ping(t, a)
	// The reset may come so soon that dialling itself fails.
	if b, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		defer b.Close()
		b.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(b, make([]byte, 1)); err == nil {
			t.Error("a connection above MaxConns was served")
		}
	}
	ping(t, a)
}

func ping(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 4)
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestUnixEcho(t *testing.T) {
	skipOnWine(t, "it has no Unix sockets")
	g := group(t, loop.Config{})
	path := filepath.Join(t.TempDir(), "s")
	if _, err := g.Listen("unix", path, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skipf("no Unix sockets here: %v", err)
		}
		t.Fatal(err)
	}
	got := make(chan string, 1)
	c, err := g.Dial(context.Background(), "unix", path, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil }}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	if s := receive(t, got, "the echo"); s != "hello" {
		t.Errorf("%q", s)
	}
}

type packetEcho struct{}

func (packetEcho) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		ms[i].Data = ms[i].Data[:ms[i].N]
	}
	p.WriteBatch(ms)
	for i := range ms {
		ms[i].Data = ms[i].Data[:cap(ms[i].Data)]
	}
}

func TestUDPEcho(t *testing.T) {
	skipOnWine(t, "package net's UDP does not work there")
	g := group(t, loop.Config{})
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetEcho{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", pl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 1<<16)
	for _, n := range []int{0, 1, 1400, 9000, 60_000} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		if k, err := c.Read(b); err != nil || !bytes.Equal(b[:k], want) {
			t.Errorf("%d bytes came back of %d: %v", k, n, err)
		}
	}
	if err := pl.Close(); err != nil {
		t.Error(err)
	}
	if err := pl.Close(); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestWatch(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ready := make(chan pollux.Event, 16)
	w, err := g.Loops()[0].Watch(u, func(ev pollux.Event) {
		if ev.Readable() {
			ready <- ev
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("x"), u.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	receive(t, ready, "the datagram")
	stopped := make(chan bool)
	w.Stop(func() { close(stopped) })
	receive(t, stopped, "the end of the watch")
	u.WriteTo([]byte("x"), u.LocalAddr())
	select {
	case ev := <-ready:
		t.Errorf("%v after Stop", ev)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestSlowCallbackIsNamed(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	release := make(chan bool)
	g, c := serve(t, loop.Config{Loops: 1, SlowCallback: 10 * time.Millisecond, Logger: logger}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { <-release; return len(b), nil }}
	})
	c.Write([]byte("x"))
	for end := time.Now().Add(patience); ; {
		mu.Lock()
		s := log.String()
		mu.Unlock()
		if strings.Contains(s, "blocks its loop") && strings.Contains(s, c.LocalAddr().String()) && strings.Contains(s, "*loop_test.funcs") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the log says %q", s)
		}
		time.Sleep(time.Millisecond)
	}
	if s := g.Stats(); s.Loops[0].SlowCallbacks != 1 {
		t.Errorf("SlowCallbacks = %d while the loop is blocked", s.Loops[0].SlowCallbacks)
	}
	close(release)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestStats(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	for range 10 {
		ping(t, c)
	}
	s := g.Stats()
	l := s.Loops[0]
	if s.Backend != g.Backend() || l.Conns != 1 || l.Accepts != 1 || l.BytesIn != 40 || l.BytesOut != 40 || l.Messages != 10 || l.Turns == 0 {
		t.Errorf("%+v", s)
	}
}

func TestBadConfigAndAddresses(t *testing.T) {
	for _, c := range []loop.Config{{Loops: -1}, {Loops: 5000}, {LowWatermark: 10, HighWatermark: 5}, {MaxUnsent: 1, HighWatermark: 2}, {BusyPoll: -1}, {MaxConns: -1}, {Backend: "carrier-pigeon"}} {
		if _, err := loop.NewGroup(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	g := group(t, loop.Config{Loops: 1})
	for _, a := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "example.org:80", "[::1:80"} {
		if _, err := g.Listen("tcp", a, nil); err == nil {
			t.Errorf("listening at %q succeeded", a)
		}
	}
	if _, err := g.Listen("carrier", "127.0.0.1:0", nil); err == nil {
		t.Error("listening on an unknown network succeeded")
	}
}

func TestEchoAllocatesNothing(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	_ = g
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(500, func() {
		c.Write(b)
		io.ReadFull(c, b)
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations a message", n)
	}
}

// After Shutdown nothing that waits for a loop hangs.
func TestAfterShutdown(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	l := g.Loops()[0]
	if err := g.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 3)
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	go func() {
		_, err := g.Dial(context.Background(), "tcp", "127.0.0.1:1", func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
		_, err = l.Watch(u, func(pollux.Event) {})
		ended <- err
		_, err = g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
		ended <- err
	}()
	for range 3 {
		if err := receive(t, ended, "an answer after Shutdown"); err == nil {
			t.Error("it succeeded")
		}
	}
	if err := l.Offload(func() any { return nil }, func(any) {}); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Offload: %v", err)
	}
}
