package loop_test

import (
	"io"
	"testing"

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
