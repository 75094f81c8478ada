package loop_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// packetCalls are the methods of a PacketConn that may be called from any goroutine.
func packetCalls(p *loop.PacketConn, to netip.AddrPort) map[string]func() error {
	first := func(_ any, err error) error { return err }
	all := netip.MustParseAddr("224.0.0.251")
	return map[string]func() error{
		"Write":   func() error { return first(p.Write([]byte("x"))) },
		"WriteTo": func() error { return first(p.WriteTo([]byte("x"), to)) },
		"WriteBatch": func() error {
			return first(p.WriteBatch([]sock.Message{{Data: []byte("x"), Addr: to}, {Data: []byte("y"), Addr: to}}))
		},
		"Connect":         func() error { return p.Connect(to) },
		"Disconnect":      p.Disconnect,
		"JoinGroup":       func() error { return p.JoinGroup(all, 0) },
		"LeaveGroup":      func() error { return p.LeaveGroup(all, 0) },
		"SetBroadcast":    func() error { return p.SetBroadcast(true) },
		"Broadcast":       func() error { return first(p.Broadcast()) },
		"SetTTL":          func() error { return p.SetTTL(closeTTL) },
		"TTL":             func() error { return first(p.TTL()) },
		"SetReadBuffer":   func() error { return p.SetReadBuffer(20000) },
		"ReadBuffer":      func() error { return first(p.ReadBuffer()) },
		"SetWriteBuffer":  func() error { return p.SetWriteBuffer(20000) },
		"WriteBuffer":     func() error { return first(p.WriteBuffer()) },
		"SetMulticastTTL": func() error { return p.SetMulticastTTL(1) },
		"RemoteAddr": func() error {
			if p.RemoteAddr(); p.LocalAddr().IsValid() {
				return nil
			}
			return loop.ErrClosed
		},
		"Control": func() error {
			raw, err := p.SyscallConn()
			if err != nil {
				return err
			}
			return raw.Control(func(uintptr) {})
		},
	}
}

// L2: the methods of a PacketConn, called from other goroutines and in a callback while its listener is
// closed or the group shuts down, return ErrClosed from then on, and never reach a socket that reuses the
// descriptor's number.
func TestPacketMethodsDuringClose(t *testing.T) {
	testkit.CheckLeaks(t)
	rounds := 4
	if testkit.Long() {
		rounds = 200
	}
	for round := range rounds {
		runPacketClose(t, round%2 == 0)
	}
}

// runPacketClose ends a listener by Close, or by Shutdown of its group, while all methods are called.
func runPacketClose(t *testing.T, byClose bool) {
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1, Logger: quiet()})
	pl, bound := listenAndEcho(t, g)
	silent, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	calls := callUntilClosed(t, bound, silent.LocalAddr())
	sender, err := sock.ConnectUDP(pl.Addr().(*net.UDPAddr).AddrPort(), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	for range 10 {
		sender.Write([]byte("ping"))
	}
	if byClose {
		err = pl.Close()
	} else {
		err = g.Shutdown(t.Context())
	}
	if err != nil {
		t.Errorf("the end: %v", err)
	}
	var reused []*sock.UDPSocket
	for range 8 { // with the descriptors' numbers
		u, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		reused = append(reused, u)
	}
	calls.Wait()
	for _, u := range reused {
		if ttl, err := u.TTL(); err != nil || ttl == closeTTL {
			t.Errorf("the TTL of a new socket is %d, %v: SetTTL has reached it", ttl, err)
		}
		u.Close()
	}
	if err := g.Shutdown(t.Context()); err != nil && byClose {
		t.Errorf("Shutdown: %v", err)
	}
}

// closeTTL is the TTL that callbacks and calls set; no socket has it by default.
const closeTTL = 9

// listenAndEcho returns a listener whose sockets send back what they receive, and those of them that are served.
func listenAndEcho(t *testing.T, g *loop.Group) (*loop.PacketListener, []*loop.PacketConn) {
	var mu sync.Mutex
	var sockets []*loop.PacketConn
	handled := make(chan struct{}, loop.MaxLoops)
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler {
		mu.Lock()
		sockets = append(sockets, p)
		mu.Unlock()
		handled <- struct{}{}
		return &packetFuncs{packets: func(p *loop.PacketConn, ms []sock.Message) {
			echoDatagrams(p, ms)
			p.SetTTL(closeTTL)
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, handled, "a call of the handler's function") // ListenPacket does not wait for a loop that is busy
	mu.Lock()
	defer mu.Unlock()
	return pl, slices.Clone(sockets)
}

// callUntilClosed calls each method again and again, from a goroutine of its own, until it returns ErrClosed, and then once
// more. When it returns, all goroutines run.
func callUntilClosed(t *testing.T, sockets []*loop.PacketConn, to netip.AddrPort) *sync.WaitGroup {
	var began, all sync.WaitGroup
	for _, p := range sockets {
		for name, call := range packetCalls(p, to) {
			began.Add(1)
			all.Go(func() {
				began.Done()
				for !errors.Is(call(), loop.ErrClosed) {
				}
				if err := call(); !errors.Is(err, loop.ErrClosed) {
					t.Errorf("%s returned %v after it had returned ErrClosed", name, err)
				}
			})
		}
	}
	began.Wait()
	return &all
}
