package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/peers"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// relayPair is two accepted connections with their plain peers. The connections have paused.
type relayPair struct {
	groups [2]*loop.Group
	conns  [2]*loop.Conn
	peers  [2]tcpConn
	ends   chan loop.RelayEnd
}

// newRelayPair returns a pair on the given groups, which may be the same.
func newRelayPair(t testing.TB, a, b *loop.Group) *relayPair {
	t.Helper()
	p := &relayPair{groups: [2]*loop.Group{a, b}, ends: make(chan loop.RelayEnd, 2)}
	for i, g := range p.groups {
		conns := make(chan *loop.Conn, 1)
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) { c.Pause(); conns <- c }}
		})
		if err != nil {
			t.Fatal(err)
		}
		p.peers[i] = dial(t, ln.Addr())
		p.conns[i] = receive(t, conns, "the connection")
		ln.Close()
	}
	return p
}

func (p *relayPair) config() loop.RelayConfig {
	return loop.RelayConfig{OnEnd: func(e loop.RelayEnd) { p.ends <- e }}
}

func (p *relayPair) relay(t testing.TB, config loop.RelayConfig) {
	t.Helper()
	if err := loop.Relay(p.conns[0], p.conns[1], config); err != nil {
		t.Fatal(err)
	}
}

// end returns what OnEnd gets, and fails if it is called again before the groups have ended.
func (p *relayPair) end(t testing.TB) loop.RelayEnd {
	t.Helper()
	e := receive(t, p.ends, "OnEnd")
	if e.A != p.conns[0] || e.B != p.conns[1] {
		t.Errorf("OnEnd got connections %p and %p, want %p and %p", e.A, e.B, p.conns[0], p.conns[1])
	}
	t.Cleanup(func() {
		for _, g := range p.groups {
			g.Shutdown(context.Background())
		}
		if len(p.ends) > 0 {
			t.Error("OnEnd was called twice")
		}
	})
	return e
}

func relayed(t testing.TB, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v, want %q", b[:n], err, want)
	}
}

// Both ends of each connection are loops, and both sides write more than the kernel buffers before
// they read (L4).
func TestRelayBothEndsWriteFirst(t *testing.T) {
	const total = 32 << 20
	g := group(t, loop.Config{Loops: 2})
	got := make(chan int, 2)
	end := func(*loop.Conn) loop.Handler {
		n := 0
		return &funcs{
			opened: func(c *loop.Conn) {
				for range total >> 20 {
					c.Write(make([]byte, 1<<20))
				}
				c.CloseWrite()
			},
			data:       func(_ *loop.Conn, b []byte) (int, error) { n += len(b); return len(b), nil },
			readClosed: func(c *loop.Conn) { got <- n; c.Close() },
		}
	}
	server, err := g.Listen("tcp", "127.0.0.1:0", end)
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan loop.RelayEnd, 1)
	h, err := loop.RelayTo("tcp", server.Addr().String(), loop.RelayConfig{OnEnd: func(e loop.RelayEnd) { ends <- e }})
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Dial(context.Background(), "tcp", proxy.Addr().String(), end); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n := receive(t, got, "ReadClosed"); n != total {
			t.Errorf("an end got %d bytes, want %d", n, total)
		}
	}
	if e := receive(t, ends, "OnEnd"); e.Err != nil || e.From != nil || e.BytesAToB != total || e.BytesBToA != total {
		t.Errorf("OnEnd got %+v, want %d bytes each way", e, total)
	}
}

// A peer that does not read pauses the other side, whose bytes do not pile up; the other direction
// goes on (L4).
func TestRelayBackPressure(t *testing.T) {
	const high, limit, total = 64 << 10, 80 << 10, 64 << 20
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) {
			config := loop.Config{Loops: 1, HighWatermarkBytes: high, MaxUnsentBytes: limit}
			a := group(t, config)
			b := a
			if loops == 2 {
				b = group(t, config)
			}
			p := newRelayPair(t, a, b)
			p.relay(t, p.config())
			sent := make(chan int, 1)
			go func() {
				n, _ := p.peers[0].Write(make([]byte, total))
				p.peers[0].CloseWrite()
				sent <- n
			}()
			if !testkit.Eventually(func() bool { return p.conns[1].Unsent() > high }) {
				t.Fatalf("%d bytes are unsent, want more than %d", p.conns[1].Unsent(), high)
			}
			for range 100 { // the other direction
				p.peers[1].Write([]byte("ping"))
				relayed(t, p.peers[0], "ping")
				if n := p.conns[1].Unsent(); n > limit {
					t.Fatalf("%d bytes are unsent, more than MaxUnsentBytes, %d", n, limit)
				}
			}
			if len(sent) > 0 {
				t.Fatal("everything was read, though the other side takes nothing")
			}
			if u := stats(a).UnreadBytes; u > 1<<20+512<<10 {
				t.Errorf("%d bytes are unread, more than MaxUnreadBytes, one turn's, and what a driver delivers late", u)
			}
			n, err := io.Copy(io.Discard, p.peers[1])
			if n != total || err != nil || receive(t, sent, "the writer") != total {
				t.Errorf("%d of %d bytes arrived: %v", n, total, err)
			}
			p.peers[1].CloseWrite()
			if e := p.end(t); e.Err != nil || e.BytesAToB != total || e.BytesBToA != 400 {
				t.Errorf("OnEnd got %+v, want %d and 400 bytes", e, total)
			}
		})
	}
}

// A connection whose reading back-pressure has stopped before is read by the relay (L4).
func TestRelayEndsBackPressure(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	p.conns[1].Write(make([]byte, 32<<20))
	waitTurns(t, p.conns[1])
	p.relay(t, p.config())
	p.peers[1].Write([]byte("ping"))
	relayed(t, p.peers[0], "ping")
}

// No byte is relayed before both handlers are in force, whichever loop is late: one that is not yet
// could not count or limit the bytes.
func TestRelayBeginsWhenBothHandlersAreInForce(t *testing.T) {
	for _, paused := range []bool{false, true} {
		config := loop.Config{Loops: 1, Logger: quiet()}
		a, b := group(t, config), group(t, config)
		p := newRelayPair(t, a, b)
		p.conns[0].SetHandler(&funcs{data: func(*loop.Conn, []byte) (int, error) { return 0, nil }})
		if !paused {
			p.conns[0].Resume()
		}
		release := blockLoop(t, b.Loops()[0])
		p.relay(t, p.config())
		p.peers[0].Write([]byte("hello"))
		if !testkit.Eventually(func() bool { return unacked(p.peers[0]) == 0 }) {
			t.Fatal("what was written does not arrive")
		}
		waitTurns(t, p.conns[0])
		if n := p.conns[1].Unsent(); n != 0 {
			t.Errorf("paused before: %v: %d bytes were relayed before the other loop has begun", paused, n)
		}
		release()
		relayed(t, p.peers[1], "hello")
	}
}

// The counts do not include what was written before the relay, and what was dropped unsent.
func TestRelayCountsWhatTheKernelTook(t *testing.T) {
	const before, sent = 1000, 20 << 20
	g := group(t, loop.Config{Loops: 1, HighWatermarkBytes: 2 * sent})
	p := newRelayPair(t, g, g)
	p.conns[1].Write(make([]byte, before))
	p.relay(t, p.config())
	if _, err := p.peers[0].Write(make([]byte, sent)); err != nil {
		t.Fatal(err)
	}
	unsent := -1
	if !testkit.Eventually(func() bool { // everything was forwarded, and the kernel's buffer is full
		was := unsent
		unsent = p.conns[1].Unsent()
		waitTurns(t, p.conns[1])
		return stats(g).BytesIn == sent && was == unsent
	}) {
		t.Fatalf("%d bytes are unsent, still changing", unsent)
	}
	p.conns[1].Abort()
	if e := p.end(t); unsent <= 0 || e.BytesAToB+int64(unsent) != sent || e.BytesBToA != 0 {
		t.Errorf("OnEnd got %+v when %d bytes of %d were unsent", e, unsent, sent)
	}
}

// What was received before a reset arrives at a slow peer, too, and then the reset (L3b).
func TestRelayPassesOnAReset(t *testing.T) {
	if !resetsKeepBytes() {
		t.Skip("the system may drop what a peer has received before a reset")
	}
	for _, paused := range []bool{false, true} {
		t.Run(fmt.Sprint("paused ", paused), func(t *testing.T) {
			g := group(t, loop.Config{Loops: 1, LowWatermarkBytes: 1 << 10})
			p := newRelayPair(t, g, g)
			p.relay(t, p.config())
			sent, _ := p.peers[0].Write(make([]byte, 1000))
			if paused { // until nothing moves any more
				p.peers[0].SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				n, err := p.peers[0].Write(make([]byte, 64<<20))
				if sent += n; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("%d bytes were written, then %v, want a timeout", n, err)
				}
			} else if !testkit.Eventually(func() bool { return unacked(p.peers[0]) == 0 }) {
				t.Fatal("what was written does not arrive")
			}
			sent -= unacked(p.peers[0]) // the kernel drops these
			p.peers[0].SetLinger(0)
			p.peers[0].Close()
			n, err := io.Copy(io.Discard, p.peers[1])
			if int(n) < sent || !wasReset(err) {
				t.Errorf("%d bytes of %d arrived, then %v; want all, then a reset", n, sent, err)
			}
			e := p.end(t)
			if e.From != p.conns[0] || !errors.Is(e.Err, syscall.ECONNRESET) || e.BytesAToB != n {
				t.Errorf("OnEnd got %+v, want a reset of A and %d bytes", e, n)
			}
			var op *net.OpError
			if !errors.As(e.Err, &op) || op.Op != "relay" {
				t.Errorf("OnEnd got %v, want a *net.OpError of relay", e.Err)
			}
		})
	}
}

// OnEnd gets the addresses of both peers after a reset, on every driver, and even if the loop has
// accepted so many connections meanwhile that it does not remember those of the two any more.
func TestRelayEndHasTheAddresses(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	p.relay(t, p.config())
	p.peers[0].Write([]byte("x"))
	relayed(t, p.peers[1], "x")
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return &funcs{} })
	if err != nil {
		t.Fatal(err)
	}
	const later = 2 * peers.Max
	for range later {
		dial(t, ln.Addr()).Close()
	}
	if !testkit.Eventually(func() bool { return g.Stats().Loops[0].Accepts == later+2 }) {
		t.Fatalf("%d connections were accepted, want %d", g.Stats().Loops[0].Accepts, later+2)
	}
	want := [2]string{p.peers[0].LocalAddr().String(), p.peers[1].LocalAddr().String()}
	p.peers[0].SetLinger(0)
	p.peers[0].Close()
	e := p.end(t)
	if got := [2]string{fmt.Sprint(e.A.RemoteAddr()), fmt.Sprint(e.B.RemoteAddr())}; got != want {
		t.Errorf("the addresses are %v, want %v", got, want)
	}
	var op *net.OpError
	if !errors.As(e.Err, &op) || op.Addr == nil || op.Addr.String() != want[0] {
		t.Errorf("OnEnd got %v, want an error with the address %s", e.Err, want[0])
	}
}

// A reset that the loop first finds by sending, after which the system reports the end of the
// stream, is passed on as a reset, not as FIN.
func TestRelayPassesOnAResetFoundBySending(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	p.relay(t, p.config())
	p.peers[0].Write([]byte("ping"))
	relayed(t, p.peers[1], "ping")
	release := blockLoop(t, g.Loops()[0])
	p.peers[1].Write([]byte("is sent first"))
	p.peers[0].SetLinger(0)
	p.peers[0].Close()
	release()
	if n, err := p.peers[1].Read(make([]byte, 1)); !wasReset(err) {
		t.Errorf("read %d bytes, %v, want a reset", n, err)
	}
	if e := p.end(t); e.From != p.conns[0] || !errors.Is(e.Err, syscall.ECONNRESET) || e.BytesAToB != 4 {
		t.Errorf("OnEnd got %+v, want a reset of A and 4 bytes", e)
	}
}

// The answer of a side that refuses the rest, and resets, arrives (C2).
func TestRelayEarlyAnswer(t *testing.T) {
	if !resetsKeepBytes() {
		t.Skip("the system may drop what a peer has received before a reset")
	}
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	p.relay(t, p.config())
	go p.peers[0].Write(make([]byte, 64<<20))
	io.ReadFull(p.peers[1], make([]byte, 1000))
	p.peers[1].Write([]byte("413"))
	p.peers[1].Close()
	relayed(t, p.peers[0], "413")
	if e := p.end(t); e.From != p.conns[1] || e.BytesBToA != 3 {
		t.Errorf("OnEnd got %+v, want an end from B and 3 bytes", e)
	}
}

// If the program ends one connection, the other one ends as well: by FIN after Close, by a reset
// after everything else.
func TestRelayEndedByTheProgram(t *testing.T) {
	why := errors.New("the program's reason")
	for name, x := range map[string]struct {
		end    func(c *loop.Conn) error
		reason error
		resets bool
	}{
		"Close":     {(*loop.Conn).Close, loop.ErrClosed, false},
		"CloseWith": {func(c *loop.Conn) error { return c.CloseWith(why) }, why, true},
		"Abort":     {(*loop.Conn).Abort, loop.ErrAborted, true},
		"AbortWith": {func(c *loop.Conn) error { return c.AbortWith(why) }, why, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := group(t, loop.Config{Loops: 2})
			p := newRelayPair(t, g, g)
			p.relay(t, p.config())
			p.peers[1].Write([]byte("before"))
			relayed(t, p.peers[0], "before")
			p.peers[0].Write([]byte("answer"))
			relayed(t, p.peers[1], "answer")
			if err := x.end(p.conns[1]); err != nil {
				t.Fatal(err)
			}
			p.peers[1].Close()
			if n, err := p.peers[0].Read(make([]byte, 1)); n != 0 || !x.resets && err != io.EOF || x.resets && !wasReset(err) {
				t.Errorf("the other peer read %d bytes, %v; want a reset: %v", n, err, x.resets)
			}
			p.peers[0].Close()
			if e := p.end(t); e.From != p.conns[1] || !errors.Is(e.Err, x.reason) || e.BytesAToB != 6 || e.BytesBToA != 6 {
				t.Errorf("OnEnd got %+v, want B, %v and 6 bytes each", e, x.reason)
			}
		})
	}
}

// If the program half-closes one connection, which it must not, OnEnd reports that bytes were lost.
func TestRelayReportsRefusedBytes(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	p.relay(t, p.config())
	p.conns[1].CloseWrite()
	if n, err := p.peers[1].Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read %d bytes, %v, want EOF", n, err)
	}
	p.peers[0].Write([]byte("lost"))
	p.peers[0].CloseWrite()
	p.peers[1].CloseWrite()
	if e := p.end(t); !errors.Is(e.Err, loop.ErrClosed) || e.BytesAToB != 0 {
		t.Errorf("OnEnd got %+v, want ErrClosed and no bytes", e)
	}
}

// If one group shuts down, the relay to the other one's connection ends (L8).
func TestRelayShutdown(t *testing.T) {
	for _, groups := range []int{1, 2} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			testkit.CheckLeaks(t)
			a := group(t, loop.Config{Loops: 1})
			b := a
			if groups == 2 {
				b = group(t, loop.Config{Loops: 1})
			}
			p := newRelayPair(t, a, b)
			p.relay(t, p.config())
			p.peers[0].Write([]byte("x"))
			relayed(t, p.peers[1], "x")
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			var shut *loop.ShutdownError
			if err := a.Shutdown(ctx); !errors.As(err, &shut) || shut.Conns != 3-groups {
				t.Errorf("Shutdown returned %v, want %d connections cut off", err, 3-groups)
			}
			if e := receive(t, p.ends, "OnEnd"); !errors.Is(e.Err, loop.ErrShutdown) || e.BytesAToB != 1 {
				t.Errorf("OnEnd got %+v, want ErrShutdown and 1 byte", e)
			}
			if n, err := p.peers[1].Read(make([]byte, 1)); err == nil {
				t.Errorf("Read returned %d bytes after the end", n)
			}
			b.Shutdown(context.Background())
			p.peers[0].Close()
			p.peers[1].Close()
		})
	}
}

// Relay has no effect if it returns an error: the other connection goes on.
func TestRelayOfAClosedConnection(t *testing.T) {
	for name, x := range map[string]struct {
		end  func(c *loop.Conn)
		want error
	}{
		"closed":      {func(c *loop.Conn) { c.Close() }, loop.ErrClosed},
		"aborted":     {func(c *loop.Conn) { c.Abort() }, loop.ErrClosed},
		"CloseWrite":  {func(c *loop.Conn) { c.CloseWrite() }, loop.ErrClosed},
		"half-closed": {func(c *loop.Conn) { c.CloseWrite(); waitTurns(t, c) }, loop.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			g := group(t, loop.Config{Loops: 1})
			for i := range 2 {
				p := newRelayPair(t, g, g)
				other := p.conns[1-i]
				other.SetHandler(echo{})
				x.end(p.conns[i])
				if err := loop.Relay(p.conns[0], p.conns[1], p.config()); !errors.Is(err, x.want) {
					t.Errorf("Relay returned %v, want %v", err, x.want)
				}
				other.Resume()
				ping(t, p.peers[1-i])
				if len(p.ends) > 0 {
					t.Error("OnEnd was called")
				}
			}
		})
	}
}

func TestRelayMisuse(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	q := newRelayPair(t, g, g)
	q.relay(t, q.config())
	a, b := p.conns[0], p.conns[1]
	for want, err := range map[string]error{
		"a connection is needed":   loop.Relay(a, nil, p.config()),
		"a connection is needed, ": loop.Relay(nil, a, p.config()),
		"not one twice":            loop.Relay(a, a, p.config()),
		"IdleTimeout is -1ns":      loop.Relay(a, b, loop.RelayConfig{IdleTimeout: -1}),
		"DialTimeout is -1ns":      loop.Relay(a, b, loop.RelayConfig{DialTimeout: -1}),
		"relayed already":          loop.Relay(q.conns[1], b, p.config()),
		"is relayed already":       loop.Relay(a, q.conns[0], p.config()),
	} {
		if !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("Relay returned %v, want ErrBadArgument and %q", err, want)
		}
	}
	never := sock.Control(func(uintptr) error { t.Error("Control was called"); return nil })
	for what, x := range map[string]struct {
		network, address string
		config           loop.RelayConfig
		option           sock.Option
	}{
		"missing port":       {"tcp", "127.0.0.1", loop.RelayConfig{}, never},
		"name":               {"tcp", "name:80", loop.RelayConfig{}, never},
		"udp":                {"udp", "127.0.0.1:80", loop.RelayConfig{}, never},
		"the name is empty":  {"unix", "", loop.RelayConfig{}, never},
		"IdleTimeout":        {"tcp", "127.0.0.1:80", loop.RelayConfig{IdleTimeout: -1}, never},
		"DialTimeout":        {"unix", "x", loop.RelayConfig{DialTimeout: -1}, never},
		"Backlog":            {"tcp", "127.0.0.1:80", loop.RelayConfig{}, sock.Backlog(1)},
		"ReadBuffer":         {"tcp", "127.0.0.1:80", loop.RelayConfig{}, sock.ReadBuffer(0)},
		"LocalAddr":          {"tcp", "127.0.0.1:80", loop.RelayConfig{}, sock.LocalAddr(netip.MustParseAddrPort("[::1]:0"))},
		"NoDelay":            {"unix", "x", loop.RelayConfig{}, sock.NoDelay(true)},
		"the option is nil":  {"unix", "x", loop.RelayConfig{}, nil},
		"LocalUnixAddr: bad": {"unix", "x", loop.RelayConfig{}, sock.LocalUnixAddr(strings.Repeat("x", 500))},
	} {
		h, err := loop.RelayTo(x.network, x.address, x.config, x.option)
		if op := (*net.OpError)(nil); h != nil || !errors.As(err, &op) || !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), what) {
			t.Errorf("RelayTo(%q, %q, %+v) returned %v, %v, want a *net.OpError of ErrBadArgument and %q", x.network, x.address, x.config, h, err, what)
		}
	}
	p.relay(t, p.config()) // nothing of the above has had an effect
	p.peers[0].Write([]byte("ping"))
	relayed(t, p.peers[1], "ping")
}

// The connections end while Relay is called and bytes move: OnEnd is called once if Relay has
// succeeded, and else not.
func TestRelayAgainstEverything(t *testing.T) {
	testkit.CheckLeaks(t)
	why := errors.New("why")
	ways := []func(p *relayPair, i int){
		func(p *relayPair, i int) { p.conns[i].Close() },
		func(p *relayPair, i int) { p.conns[i].AbortWith(why) },
		func(p *relayPair, i int) { p.conns[i].CloseWith(why) },
		func(p *relayPair, i int) { p.peers[i].SetLinger(0); p.peers[i].Close() },
		func(p *relayPair, i int) { p.peers[i].Close() },
		func(p *relayPair, i int) { p.peers[i].CloseWrite(); p.peers[1-i].CloseWrite() },
		func(p *relayPair, i int) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			p.groups[i].Shutdown(ctx)
		},
	}
	rounds := 40
	if testkit.Race {
		rounds = 10
	}
	for round := range rounds * len(ways) {
		config := loop.Config{Loops: 1, Logger: quiet(), LingerTimeout: 100 * time.Millisecond}
		a := group(t, config)
		b := a
		if round%2 == 1 {
			b = group(t, config)
		}
		p := newRelayPair(t, a, b)
		var wg sync.WaitGroup
		for i, peer := range p.peers {
			wg.Go(func() { peer.Write(make([]byte, round*5000)) })
			wg.Go(func() { io.Copy(io.Discard, p.peers[i]) })
		}
		var err error
		wg.Go(func() { err = loop.Relay(p.conns[0], p.conns[1], p.config()) })
		wg.Go(func() { ways[round%len(ways)](p, round/len(ways)%2) })
		if round%3 == 0 {
			wg.Go(func() { ways[round/2%len(ways)](p, round%2) })
		}
		go func() { // a peer whose connection was not relayed
			time.Sleep(2 * time.Millisecond)
			for _, c := range p.peers {
				c.Close()
			}
		}()
		wg.Wait()
		if err == nil {
			receive(t, p.ends, "OnEnd")
		} else if !errors.Is(err, loop.ErrClosed) {
			t.Fatalf("round %d: Relay returned %v", round, err)
		}
		for _, g := range p.groups {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			g.Shutdown(ctx)
		}
		if len(p.ends) > 0 {
			t.Fatalf("round %d: OnEnd was called, with %+v; Relay had returned %v", round, <-p.ends, err)
		}
	}
}

// The idle timeout ends a relay, not before the timeout, and not while bytes move in one direction
// (L6).
func TestRelayIdleTimeout(t *testing.T) {
	for _, groups := range []int{1, 2} {
		testSimulated(t, fmt.Sprint(groups, " groups"), func(t *testing.T) { testRelayIdleTimeout(t, groups) })
	}
}

func testRelayIdleTimeout(t *testing.T, groups int) {
	const timeout = 300 * time.Millisecond
	config := loop.Config{Loops: 1}
	a := group(t, config)
	b := a
	if groups == 2 {
		b = group(t, config)
	}
	p := newRelayPair(t, a, b)
	c := p.config()
	c.IdleTimeout = timeout
	p.relay(t, c)
	for range 10 {
		time.Sleep(timeout - 2*resolution)
		if _, err := p.peers[1].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := p.peers[0].Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	last := time.Now()
	e := p.end(t)
	const sample = timeout / 4 // the relay looks that often
	if took := time.Since(last); took < timeout || took > timeout+sample+2*resolution {
		t.Errorf("the idle timeout took %v, want %v, or %v longer", took, timeout, sample)
	}
	if !errors.Is(e.Err, loop.ErrTimeout) || e.From != nil {
		t.Errorf("OnEnd got %v from %v, want ErrTimeout, from nil", e.Err, e.From)
	}
	if e.BytesAToB != 0 || e.BytesBToA == 0 {
		t.Errorf("OnEnd got %+v, want bytes of B only", e)
	}
}

// relayTo returns the address of a proxy, and what OnEnd gets.
func relayTo(t *testing.T, server string, config loop.RelayConfig, options ...sock.Option) (net.Addr, <-chan loop.RelayEnd, *loop.Group) {
	t.Helper()
	ends := make(chan loop.RelayEnd, 10)
	config.OnEnd = func(e loop.RelayEnd) { ends <- e }
	h, err := loop.RelayTo("tcp", server, config, options...)
	if err != nil {
		t.Fatal(err)
	}
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr(), ends, g
}

// If nothing listens, the client is closed, and OnEnd gets the error of the dial.
func TestRelayToNobody(t *testing.T) {
	ln, err := listenNet(t, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy, ends, _ := relayTo(t, ln.Addr().String(), loop.RelayConfig{})
	ln.Close() // now, or the proxy could get its port
	c := dial(t, proxy)
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read returned %d, %v, want the end", n, err)
	}
	c.Close()
	if e := receive(t, ends, "OnEnd"); e.A == nil || e.B != nil || e.From != nil || !errors.Is(e.Err, syscall.ECONNREFUSED) {
		t.Errorf("OnEnd got %+v, want ECONNREFUSED", e)
	}
}

// A client that is gone before the server answers cancels the dial; DialTimeout ends it.
func TestRelayToASilentServer(t *testing.T) {
	full, address := listenFull(t)
	defer full.Close()
	proxy, ends, g := relayTo(t, address, loop.RelayConfig{})
	c := dial(t, proxy)
	if !testkit.Eventually(func() bool { return g.Conns() == 2 || len(ends) > 0 }) {
		t.Fatalf("%d connections, want 2", g.Conns())
	}
	if len(ends) > 0 {
		t.Skip("connecting to a full backlog does not hang on this system: ", (<-ends).Err)
	}
	c.Write([]byte("hello"))
	from := c.LocalAddr().String()
	c.SetLinger(0)
	c.Close()
	e := receive(t, ends, "OnEnd")
	if e.B != nil || e.From != e.A || !errors.Is(e.Err, syscall.ECONNRESET) {
		t.Errorf("OnEnd got %+v, want ECONNRESET from A", e)
	}
	if a := e.A.RemoteAddr(); a == nil || a.String() != from {
		t.Errorf("the client's address is %v, want %s", a, from)
	}
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
		t.Errorf("%d connections are left", g.Conns())
	}
	proxy, ends, _ = relayTo(t, address, loop.RelayConfig{DialTimeout: 10 * time.Millisecond})
	c = dial(t, proxy)
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read returned %d, %v, want EOF", n, err)
	}
	c.Close()
	if e := receive(t, ends, "OnEnd"); e.From != nil || !errors.Is(e.Err, context.DeadlineExceeded) {
		t.Errorf("OnEnd got %+v, want the dial's timeout", e)
	}
}

// The options of RelayTo are set on the connections to the server, and on no other, each time.
func TestRelayToOptions(t *testing.T) {
	server, err := listenNet(t, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	controlled := make(chan uintptr, 10)
	options := []sock.Option{sock.Control(func(fd uintptr) error { controlled <- fd; return nil })}
	proxy, ends, _ := relayTo(t, server.Addr().String(), loop.RelayConfig{}, options...)
	options[0] = nil // RelayTo has a copy
	if len(controlled) > 0 {
		t.Error("RelayTo has made a socket")
	}
	for range 2 {
		c := dial(t, proxy)
		s, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		receive(t, controlled, "Control")
		s.Close()
		c.Close()
		e := receive(t, ends, "OnEnd")
		if e.B == nil || e.Err != nil {
			t.Errorf("OnEnd got %+v, want the end of both", e)
		}
	}
	if len(controlled) > 0 {
		t.Error("Control was called again")
	}
}

// An option that the system refuses is an error of the dial, which OnEnd gets.
func TestRelayToOptionFails(t *testing.T) {
	boom := errors.New("boom")
	proxy, ends, g := relayTo(t, "127.0.0.1:9", loop.RelayConfig{}, sock.Control(func(uintptr) error { return boom }))
	c := dial(t, proxy)
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read returned %d, %v, want EOF", n, err)
	}
	c.Close()
	if e := receive(t, ends, "OnEnd"); e.B != nil || e.From != nil || !errors.Is(e.Err, boom) {
		t.Errorf("OnEnd got %+v, want the error of Control", e)
	}
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
		t.Errorf("%d connections are left", g.Conns())
	}
}

// A handler that has read a first message hands the connection to RelayTo: what follows the message
// goes to the server, a FIN included.
func TestRelayToBySetHandler(t *testing.T) {
	server, err := listenNet(t, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	h, err := loop.RelayTo("tcp", server.Addr().String(), loop.RelayConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			if len(b) < 3 {
				return 0, nil
			}
			return 3, c.SetHandler(h)
		}}
	})
	c.Write([]byte("to rest"))
	c.CloseWrite()
	s, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(testTimeout))
	if b, err := io.ReadAll(s); string(b) != "rest" || err != nil {
		t.Errorf("the server got %q, %v, want rest", b, err)
	}
	s.Write([]byte("answer"))
	s.Close()
	if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
		t.Errorf("the client got %q, %v, want answer", b, err)
	}
}
