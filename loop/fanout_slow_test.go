package loop_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// L3: members with small kernel buffers, whose peers read only later, get every byte of large batches,
// once and in order.
func TestL3FanoutSmallKernelBuffers(t *testing.T) {
	testkit.CheckLeaks(t)
	const members, messages, size = 4, 24, 60 << 10
	g := group(t, loop.Config{Loops: 1})
	conns := make(chan *loop.Conn, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) { conns <- c }}
	}, sock.WriteBuffer(64<<10)) // smaller than a segment, TCP waits for its timers
	if err != nil {
		t.Fatal(err)
	}
	f := loop.NewFanout(loop.FanoutConfig{})
	var peers []net.Conn
	var all []*loop.Conn
	for range members {
		p := dial(t, ln.Addr())
		c := receive(t, conns, "a connection")
		if err := f.Add(c); err != nil {
			t.Fatal(err)
		}
		peers, all = append(peers, p), append(all, c)
	}
	release := blockLoop(t, g.Loops()[0])
	var want []byte
	for i := range messages {
		b := bytes.Repeat([]byte{byte('a' + i)}, size-i)
		copy(b, fmt.Sprintf("<%d>", i))
		want = append(want, b...)
		if err := f.Send(loop.NewShared(b)); err != nil {
			t.Fatal(err)
		}
	}
	release()
	if !testkit.Eventually(func() bool { return f.Stats().PendingMessages == 0 }) {
		t.Fatalf("messages are pending: %+v", f.Stats())
	}
	for _, c := range all {
		if c.Unsent() == 0 {
			t.Error("the kernel has taken everything; the buffers are too large for this test")
		}
		c.CloseWrite()
	}
	for i, p := range peers {
		if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("peer %d got %d bytes, %v, want the %d that were sent", i, len(got), err, len(want))
		}
	}
}
