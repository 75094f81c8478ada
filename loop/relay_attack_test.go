package loop_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Relay ends the back-pressure of a connection also in its own callback, which has written more than
// the high watermark: what the connection's peer sends is relayed although that peer does not read.
func TestRelayEndsBackPressureInCallback(t *testing.T) {
	const backlog = 32 << 20
	config := loop.Config{Loops: 1, HighWatermarkBytes: 1 << 10, MaxUnsentBytes: 2 * backlog}
	other := make(chan *loop.Conn, 1)
	_, b := serve(t, config, func(c *loop.Conn) loop.Handler {
		c.Pause()
		other <- c
		return &funcs{}
	})
	ends := make(chan loop.RelayEnd, 1)
	_, a := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, p []byte) (int, error) {
			c.Write(make([]byte, backlog))
			if err := loop.Relay(c, <-other, loop.RelayConfig{OnEnd: func(e loop.RelayEnd) { ends <- e }}); err != nil {
				t.Errorf("Relay: %v", err)
			}
			return 0, nil
		}}
	})
	if _, err := a.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	relayed(t, b, "first")
	if _, err := a.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	relayed(t, b, "second")
	a.CloseWrite()
	b.CloseWrite()
	if n, err := io.Copy(io.Discard, a); n != backlog || err != nil {
		t.Errorf("the peer got %d bytes, then %v, want %d", n, err, backlog)
	}
	if e := receive(t, ends, "OnEnd"); e.Err != nil {
		t.Errorf("OnEnd got %v, want nil", e.Err)
	}
}

// A relay that ends at a timeout or by Shutdown resets both peers: neither may take an incomplete
// stream for a complete one. A peer that got the other one's FIN has a complete stream.
func TestRelayCutOffResets(t *testing.T) {
	testkit.SkipOnWine(t, "a reset may be reported as EOF there")
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, end := range map[string]func(*relayPair){
		"idle timeout":  func(p *relayPair) { p.conns[1].SetIdleTimeout(time.Millisecond) },
		"read deadline": func(p *relayPair) { p.conns[1].SetReadDeadline(time.Now()) },
		"shutdown":      func(p *relayPair) { p.groups[1].Shutdown(canceled) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newRelayPair(t, group(t, loop.Config{Loops: 1}), group(t, loop.Config{Loops: 1}))
			p.relay(t, p.config())
			for i := range p.peers {
				if _, err := p.peers[i].Write([]byte("part")); err != nil {
					t.Fatal(err)
				}
				relayed(t, p.peers[1-i], "part")
			}
			end(p)
			for i, peer := range p.peers {
				if n, err := peer.Read(make([]byte, 1)); !wasReset(err) {
					t.Errorf("peer %d read %d bytes, then %v, want a reset", i, n, err)
				}
			}
			if e := p.end(t); e.From != p.conns[1] || e.Err == nil {
				t.Errorf("OnEnd got %v, from %p, want an error from b", e.Err, e.From)
			}
		})
	}
}

// The relay's own idle timeout resets both peers, too.
func TestRelayIdleResets(t *testing.T) {
	testkit.SkipOnWine(t, "a reset may be reported as EOF there")
	g := group(t, loop.Config{Loops: 1})
	p := newRelayPair(t, g, g)
	config := p.config()
	config.IdleTimeout = 10 * time.Millisecond
	p.relay(t, config)
	for i, peer := range p.peers {
		if n, err := peer.Read(make([]byte, 1)); !wasReset(err) {
			t.Errorf("peer %d read %d bytes, then %v, want a reset", i, n, err)
		}
	}
	if e := p.end(t); !errors.Is(e.Err, loop.ErrTimeout) {
		t.Errorf("OnEnd got %v, want ErrTimeout", e.Err)
	}
}
