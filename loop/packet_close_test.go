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
		"SetTTL":          func() error { return p.SetTTL(9) },
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
		g := group(t, loop.Config{Loops: 2, SlowCallback: -1, Logger: quiet()})
		var sockets []*loop.PacketConn
		var mu sync.Mutex
		handled := make(chan struct{}, loop.MaxLoops)
		var reused []*sock.UDPSocket
		pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler {
			mu.Lock()
			sockets = append(sockets, p)
			mu.Unlock()
			handled <- struct{}{}
			return &packetFuncs{packets: func(p *loop.PacketConn, ms []sock.Message) {
				echoDatagrams(p, ms)
				p.SetTTL(9)
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
		silent, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		to := silent.LocalAddr()
		receive(t, handled, "a call of the handler's function") // ListenPacket does not wait for a loop that is busy
		mu.Lock()
		bound := slices.Clone(sockets)
		mu.Unlock()
		var began, all sync.WaitGroup
		for _, p := range bound {
			calls := packetCalls(p, to)
			for name, call := range calls {
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
		sender, err := sock.ConnectUDP(pl.Addr().(*net.UDPAddr).AddrPort(), onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			sender.Write([]byte("ping"))
		}
		began.Wait()
		if round%2 == 0 {
			err = pl.Close()
		} else {
			err = g.Shutdown(t.Context())
		}
		if err != nil {
			t.Errorf("round %d: the end: %v", round, err)
		}
		for range 8 { // with the descriptors' numbers
			u, err := sock.ListenUDP(loopback, onNet(t)...)
			if err != nil {
				t.Fatal(err)
			}
			reused = append(reused, u)
		}
		all.Wait()
		for _, u := range reused {
			if ttl, err := u.TTL(); err != nil || ttl == 9 {
				t.Errorf("the TTL of a new socket is %d, %v: SetTTL has reached it", ttl, err)
			}
			u.Close()
		}
		sender.Close()
		silent.Close()
		if err := g.Shutdown(t.Context()); err != nil && round%2 == 0 {
			t.Errorf("round %d: Shutdown: %v", round, err)
		}
	}
}
