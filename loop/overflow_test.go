package loop_test

import (
	"errors"
	"math"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L3: sums of lengths do not overflow. With a Shared, or one slice many times in a Writev, more
// bytes can be unsent than there is memory: on systems of 32 bits, more than an int can count.
func TestL3UnsentBytesDoNotOverflow(t *testing.T) {
	const mib = 1 << 20
	conns := make(chan *loop.Conn, 1)
	_, _ = serve(t, loop.Config{Loops: 1, Logger: quiet(), MaxUnsentBytes: math.MaxInt32}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{}
	})
	c := receive(t, conns, "accept")
	s := loop.NewShared(make([]byte, mib))
	for n := 0; ; n++ {
		_, err := c.WriteShared(s)
		if errors.Is(err, loop.ErrBufferFull) {
			break
		}
		if err != nil || n > 3000 { // the kernel takes some of them
			t.Fatalf("WriteShared number %d returned %v with %d bytes unsent, want ErrBufferFull", n, err, c.Unsent())
		}
	}
	if n := c.Unsent(); n > math.MaxInt32 || n < math.MaxInt32-128*mib {
		t.Errorf("%d bytes are unsent, want almost %d", n, math.MaxInt32)
	}
	many := make([][]byte, 4096) // 2^32 bytes
	for i := range many {
		many[i] = s.Bytes()
	}
	if _, err := c.Writev(many); !errors.Is(err, loop.ErrTooLarge) && !errors.Is(err, loop.ErrBufferFull) {
		t.Errorf("Writev of 4 GiB returned %v, want ErrTooLarge or ErrBufferFull", err)
	}
	c.Abort()
}

// A Fanout's MaxPendingBytes is kept where the sum would overflow.
func TestFanoutPendingBytesDoNotOverflow(t *testing.T) {
	const mib = 1 << 20
	conns := make(chan *loop.Conn, 1)
	_, _ = serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{}
	})
	c := receive(t, conns, "accept")
	f := loop.NewFanout(loop.FanoutConfig{MaxPendingBytes: math.MaxInt32, Slow: loop.SkipSlow})
	if err := f.Add(c); err != nil {
		t.Fatal(err)
	}
	running, release := make(chan bool), make(chan bool)
	if err := c.Loop().Run(func() { close(running); <-release }); err != nil {
		t.Fatal(err)
	}
	receive(t, running, "the loop to be in a function") // it takes no messages meanwhile
	s := loop.NewShared(make([]byte, mib))
	for n := 0; ; n++ {
		err := f.Send(s)
		if errors.Is(err, loop.ErrQueueFull) {
			break
		}
		if err != nil || n > 2047 {
			t.Errorf("Send number %d returned %v with %d bytes pending, want ErrQueueFull", n, err, f.Stats().PendingBytes)
			break
		}
	}
	close(release)
	if !testkit.Eventually(func() bool { return f.Stats().PendingBytes == 0 }) {
		t.Errorf("%+v: the messages are still pending", f.Stats())
	}
}
