package loop_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// packetFuncs is a packet handler whose methods call functions.
type packetFuncs struct {
	packets  func(p *loop.PacketConn, ms []sock.Message)
	writable func(p *loop.PacketConn)
}

func (h *packetFuncs) Packets(p *loop.PacketConn, ms []sock.Message) { h.packets(p, ms) }

func (h *packetFuncs) Writable(p *loop.PacketConn) {
	if h.writable != nil {
		h.writable(p)
	}
}

// echoDatagrams answers each datagram with its contents.
func echoDatagrams(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		p.WriteTo(ms[i].Data[:ms[i].N], ms[i].Addr)
	}
}

// udpClient is a socket without a loop, and a function that waits until it is readable.
type udpClient struct {
	*sock.UDPSocket
	wait func(timeout time.Duration) error // an error: it is closed
	stop func()
}

func newClient(t *testing.T) *udpClient {
	t.Helper()
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	c := &udpClient{UDPSocket: u}
	t.Cleanup(func() { u.Close() })
	if hostOf(t) != nil {
		c.wait, c.stop = pollSimulated()
		return c
	}
	t.Setenv(pollux.BackendEnv, "") // it may name a backend that is for loops only
	q, err := pollux.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	if err := q.Register(u, 1, pollux.Readable, pollux.Level); err != nil {
		t.Fatal(err)
	}
	var events [1]pollux.Event
	c.wait = func(timeout time.Duration) error { _, err := q.Wait(events[:], timeout); return err }
	c.stop = func() { q.Close() }
	return c
}

// pollSimulated returns the wait and stop of a client on a simulated network, whose sockets a Poll does
// not take.
func pollSimulated() (wait func(time.Duration) error, stop func()) {
	const interval = 100 * time.Microsecond
	stopped := make(chan struct{})
	wait = func(time.Duration) error {
		select {
		case <-stopped:
			return pollux.ErrClosed
		case <-time.After(interval):
			return nil
		}
	}
	return wait, sync.OnceFunc(func() { close(stopped) })
}

// read waits for a datagram.
func (c *udpClient) read(t *testing.T) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 64<<10)
	for end := time.Now().Add(testTimeout); time.Now().Before(end); {
		n, from, err := c.ReadFrom(b)
		if err == nil {
			return string(b[:n]), from
		}
		if !errors.Is(err, sock.ErrWouldBlock) {
			t.Fatal(err)
		}
		if err := c.wait(testTimeout); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("timed out waiting for a datagram")
	return "", netip.AddrPort{}
}

// The sockets of one loop share their receive buffer: hundreds of them use little memory, and each
// gets its own datagrams.
func TestPacketsOfManySockets(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	c := newClient(t)
	const sockets = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var at []netip.AddrPort
	for range sockets {
		pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
			return &packetFuncs{packets: echoDatagrams}
		})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, netip.MustParseAddrPort(pl.Addr().String()))
	}
	for round := range 3 {
		for i, to := range at {
			text := strings.Repeat("x", i) + string(rune('0'+round))
			if _, err := c.WriteTo([]byte(text), to); err != nil {
				t.Fatal(err)
			}
			if got, from := c.read(t); got != text || from != to {
				t.Fatalf("got %q from %v, want %q from %v", got, from, text, to)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("%d sockets use %d MiB, want at most 16", sockets, grown>>20)
	}
}

// Datagrams sent in the callback and concurrently by other goroutines, also after it has returned,
// all arrive.
func TestPacketsSentFromManyGoroutines(t *testing.T) {
	testkit.SkipOnWine(t, "a socket queues only one datagram there")
	g := group(t, loop.Config{Loops: 1})
	c := newClient(t)
	const each = 50
	var wg sync.WaitGroup
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
		return &packetFuncs{packets: func(p *loop.PacketConn, ms []sock.Message) {
			to := ms[0].Addr
			for range 2 {
				wg.Go(func() {
					for range each {
						if _, err := p.WriteTo([]byte("elsewhere"), to); err != nil {
							t.Error(err)
						}
						runtime.Gosched()
					}
				})
			}
			for range each {
				ms := []sock.Message{{Data: []byte("callback"), Addr: to}, {Data: []byte("callback"), Addr: to}}
				if n, err := p.WriteBatch(ms); n != 2 || err != nil {
					t.Errorf("WriteBatch of 2 = %d, %v", n, err)
				}
			}
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.WriteTo([]byte("go"), netip.MustParseAddrPort(pl.Addr().String()))
	got := map[string]int{}
	for range 4 * each {
		text, _ := c.read(t)
		got[text]++
	}
	wg.Wait()
	if got["callback"] != 2*each || got["elsewhere"] != 2*each {
		t.Errorf("got %v, want %d datagrams of callback and of elsewhere", got, 2*each)
	}
}

// Writable is called once the socket is writable again, and only after a send would have blocked.
func TestPacketWritable(t *testing.T) {
	silent := testkit.SilentHost(t)
	// The io_uring driver copies short datagrams, and lets the socket send long ones immediately.
	for _, size := range []int{1000, 3000} {
		t.Run(strconv.Itoa(size), func(t *testing.T) { packetWritable(t, silent, size) })
	}
}

func packetWritable(t *testing.T, silent netip.Addr, size int) {
	g := group(t, loop.Config{Loops: 1})
	u, err := sock.ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"), onNet(t, sock.WriteBuffer(16<<10))...)
	if err != nil {
		t.Fatal(err)
	}
	port := u.LocalAddr().Port()
	blocked, writable := make(chan bool, 1), make(chan bool, 100)
	_, err = g.ServePacket(u, func(*loop.PacketConn) loop.PacketHandler {
		return &packetFuncs{
			packets: func(p *loop.PacketConn, ms []sock.Message) {
				if string(ms[0].Data[:ms[0].N]) != "fill" {
					echoDatagrams(p, ms)
					return
				}
				for range 10_000 {
					if _, err := p.WriteTo(make([]byte, size), netip.AddrPortFrom(silent, 9)); err != nil {
						blocked <- errors.Is(err, sock.ErrWouldBlock)
						return
					}
				}
				blocked <- false
			},
			writable: func(*loop.PacketConn) { writable <- true },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	for range 20 {
		c.WriteTo([]byte("hello"), at)
		c.read(t)
	}
	if len(writable) > 0 {
		t.Errorf("Writable was called %d times, but no send would have blocked", len(writable))
	}
	c.WriteTo([]byte("fill"), at)
	if !receive(t, blocked, "a send that would block") {
		t.Fatal("no send returned ErrWouldBlock")
	}
	receive(t, writable, "Writable")
}

// The watchdog logs the name of a packet handler that blocks its loop, like any other.
func TestSlowPacketHandlerIsNamed(t *testing.T) { simulated(t, testSlowPacketHandlerIsNamed) }

func testSlowPacketHandlerIsNamed(t *testing.T) {
	logged := make(chan string, 10)
	g := group(t, loop.Config{Loops: 1, SlowCallback: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(lineWriter(logged), nil))})
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
		return &packetFuncs{packets: func(*loop.PacketConn, []sock.Message) { time.Sleep(200 * time.Millisecond) }}
	})
	if err != nil {
		t.Fatal(err)
	}
	newClient(t).WriteTo([]byte("x"), netip.MustParseAddrPort(pl.Addr().String()))
	line := receive(t, logged, "a warning")
	if !strings.Contains(line, "packetFuncs") || !strings.Contains(line, pl.Addr().String()) {
		t.Errorf("the log record %s lacks the handler's name or address", line)
	}
}

// lineWriter sends what is written to a channel.
type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// packetBatchEcho answers datagrams with WriteBatch.
type packetBatchEcho struct{}

func TestUDPEcho(t *testing.T) {
	testkit.SkipOnWine(t, "package net's UDP does not work there")
	g := group(t, loop.Config{})
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialNet(t, "udp", pl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	b := make([]byte, 1<<16)
	for _, n := range []int{0, 1, 1400, 9000, 60_000} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		if k, err := c.Read(b); err != nil || !bytes.Equal(b[:k], want) {
			t.Errorf("echo: got %d bytes, %v, want %d equal bytes", k, err, n)
		}
	}
	if err := pl.Close(); err != nil {
		t.Error(err)
	}
	if err := pl.Close(); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("second Close: got %v, want ErrClosed", err)
	}
}

// Two listeners never share a port. The sockets of one listener do, and each gets datagrams.
func TestPacketListenersDoNotSharePorts(t *testing.T) {
	if !balances(t) {
		t.Skip("a listener has one socket there")
	}
	g := group(t, loop.Config{Loops: 2})
	received := make(chan *loop.PacketConn, 100)
	listen := func() netip.AddrPort {
		pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
			return &packetFuncs{packets: func(p *loop.PacketConn, _ []sock.Message) { received <- p }}
		})
		if err != nil {
			t.Fatal(err)
		}
		return netip.MustParseAddrPort(pl.Addr().String())
	}
	first := listen()
	for range 64 { // enough peers that they are not all assigned to one socket
		u, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if _, err := u.WriteTo([]byte("x"), first); err != nil {
			t.Fatal(err)
		}
	}
	for one := receive(t, received, "a datagram"); receive(t, received, "a datagram to the other socket") == one; {
	}
	seen := map[netip.AddrPort]bool{first: true}
	for range 600 {
		at := listen()
		if seen[at] {
			t.Fatalf("two listeners have the address %v", at)
		}
		seen[at] = true
	}
}

// A datagram of a batch without an address is for the connected peer, which the socket does not
// have: it must not go to the address of another datagram.
func TestPacketBatchWithoutAddress(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
		return &packetFuncs{packets: func(p *loop.PacketConn, ms []sock.Message) {
			if string(ms[0].Data[:ms[0].N]) == "no address" {
				p.WriteBatch([]sock.Message{{Data: []byte("astray"), Addr: netip.AddrPortFrom(netip.Addr{}, 9)}})
			}
			echoDatagrams(p, ms)
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(pl.Addr().String())
	a, b := newClient(t), newClient(t)
	for range 3 {
		for _, c := range []*udpClient{a, b} {
			for _, text := range []string{"hello", "no address", "hello"} {
				c.WriteTo([]byte(text), at)
				if got, _ := c.read(t); got != text {
					t.Fatalf("got %q, want %q", got, text)
				}
			}
		}
	}
}

// Once Close has returned, the address can be bound again.
func TestPacketListenerCloseIsSynchronous(t *testing.T) {
	for _, loops := range []int{1, 3} {
		g := group(t, loop.Config{Loops: loops, SlowCallback: -1, Logger: failOnLog(t)})
		c := newClient(t)
		at := "127.0.0.1:0"
		var taken addressInUse
		for range 50 {
			pl, err := g.ListenPacket("udp", at, func(*loop.PacketConn) loop.PacketHandler {
				return &packetFuncs{packets: echoDatagrams}
			})
			if taken.tolerates(err) {
				at = "127.0.0.1:0"
				continue
			}
			if err != nil {
				t.Fatalf("ListenPacket with %d loops: %v", loops, err)
			}
			at = pl.Addr().String()
			c.WriteTo([]byte("hello"), netip.MustParseAddrPort(at))
			c.read(t)
			if err := pl.Close(); err != nil {
				t.Fatal(err)
			}
			if err := pl.Close(); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("second Close: got %v, want ErrClosed", err)
			}
		}
	}
}

// After Close in a callback, no datagram is delivered, even if already received, and none is sent:
// on the callback's socket, and on another one.
func TestPacketListenerCloseInCallback(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	listeners := make([]*loop.PacketListener, 2)
	calls := 0
	wrote := make(chan error, 1)
	for i := range listeners {
		var err error
		listeners[i], err = g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
			return &packetFuncs{packets: func(p *loop.PacketConn, ms []sock.Message) {
				if calls++; calls > 1 {
					return
				}
				for _, pl := range listeners {
					pl.Close()
				}
				_, err := p.WriteTo([]byte("x"), ms[0].Addr)
				wrote <- err
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t)
	runOnLoop(t, g.Loops()[0], "the sends", func() { // so that the next turn delivers more than one call takes
		for _, pl := range listeners {
			for range 2 * driver.MaxPackets {
				c.WriteTo([]byte("x"), netip.MustParseAddrPort(pl.Addr().String()))
			}
		}
	})
	if err := receive(t, wrote, "the error of a send"); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("WriteTo after Close: got %v, want ErrClosed", err)
	}
	for range 3 { // turns
		runOnLoop(t, g.Loops()[0], "a turn", func() {
			if calls > 1 {
				t.Errorf("Packets was called %d times after Close", calls-1)
			}
		})
	}
}

// Close does not wait long for a callback, which here waits for Close.
func TestPacketListenerCloseDuringCallback(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1})
	inside, closed := make(chan bool), make(chan bool)
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
		return &packetFuncs{packets: func(*loop.PacketConn, []sock.Message) {
			inside <- true
			<-closed
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	newClient(t).WriteTo([]byte("x"), netip.MustParseAddrPort(pl.Addr().String()))
	receive(t, inside, "a callback")
	go func() {
		pl.Close()
		close(closed)
	}()
	receive(t, closed, "the return of Close")
}

// In a callback, Write sends to the peer that the socket has at the time of the call, whatever
// Connect and Disconnect do afterwards.
func TestL12WriteUsesThePeerAtTheCall(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("datagrams received before Connect from other addresses are lost there")
	}
	g := group(t, loop.Config{Loops: 1})
	a, b, c := newClient(t), newClient(t), newClient(t)
	pl, err := g.ListenPacket("udp4", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler {
		return &packetFuncs{packets: func(p *loop.PacketConn, _ []sock.Message) {
			for i := range 3 {
				for _, to := range []*udpClient{a, b} {
					if err := p.Connect(to.LocalAddr()); err != nil {
						t.Error(err)
					}
					if _, err := p.Write([]byte{byte('0' + i)}); err != nil {
						t.Error(err)
					}
				}
			}
			if err := p.Disconnect(); err != nil {
				t.Error(err)
			}
			if _, err := p.WriteTo([]byte("end"), c.LocalAddr()); err != nil {
				t.Error(err)
			}
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte("go"), netip.MustParseAddrPort(pl.Addr().String())); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.read(t); got != "end" {
		t.Errorf("got %q, want end, which WriteTo has sent", got)
	}
	for _, u := range []*udpClient{a, b} {
		for i := range 3 {
			if got, _ := u.read(t); got != fmt.Sprint(i) {
				t.Fatalf("datagram %d is %q, want its number", i, got)
			}
		}
	}
}
