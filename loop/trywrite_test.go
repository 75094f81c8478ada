package loop_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// serveIdle returns a connection of a loop, its peer, and a channel that gets a value at each Drained and one that gets
// the reason of its end.
func serveIdle(t testing.TB, config loop.Config) (c *loop.Conn, peer tcpConn, drained chan bool, closed chan error) {
	t.Helper()
	conns := make(chan *loop.Conn, 1)
	drained, closed = make(chan bool, 1), make(chan error, 1)
	_, peer = serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened:  func(c *loop.Conn) { conns <- c },
			drained: func(*loop.Conn) { drained <- true },
			closed:  func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	return receive(t, conns, "the connection"), peer, drained, closed
}

// holdLoop keeps a loop in a function until release is called.
func holdLoop(t testing.TB, l *loop.Loop) (release func()) {
	t.Helper()
	held, hold := make(chan bool), make(chan bool)
	if err := l.Run(func() { close(held); <-hold }); err != nil {
		t.Fatal(err)
	}
	receive(t, held, "the loop's function")
	return func() { close(hold) }
}

// TryWrite of another goroutine reaches the peer even while the loop is busy, and allocates nothing.
func TestTryWriteNeedsNoLoop(t *testing.T) {
	skipWithLayer(t, "only the loop may call a layer")
	skipOnSimulation(t, "there, loops send in the order of the seed")
	c, peer, _, _ := serveIdle(t, loop.Config{Loops: 1})
	release := holdLoop(t, c.Loop())
	defer release()
	b, got := []byte("castor"), make([]byte, 6)
	write := func() {
		if n, err := c.TryWrite(b); n != len(b) || err != nil {
			t.Fatalf("TryWrite: %d, %v", n, err)
		}
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("the peer read %q, %v", got, err)
		}
	}
	write()
	if n := testing.AllocsPerRun(100, write); n > 0 && !testkit.Race {
		t.Errorf("%v allocations, want 0", n)
	}
}

// What a loop must do after each send is not left out: a connection with an idle timeout is sent to by its loop.
func TestTryWriteWithIdleTimeout(t *testing.T) {
	skipOnSimulation(t, "there, loops send in any case")
	c, peer, _, _ := serveIdle(t, loop.Config{Loops: 1})
	if err := c.SetIdleTimeout(time.Hour); err != nil {
		t.Fatal(err)
	}
	release := holdLoop(t, c.Loop())
	if n, err := c.TryWrite([]byte("castor")); n != 6 || err != nil || c.Unsent() != 6 {
		t.Errorf("TryWrite: %d, %v, and %d bytes unsent, want 6 of 6", n, err, c.Unsent())
	}
	release()
	if _, err := io.ReadFull(peer, make([]byte, 6)); err != nil {
		t.Error(err)
	}
}

// TryWrite queues no more than the high watermark, and Drained is called when the rest may be written: nothing is
// lost, repeated or reordered.
func TestTryWriteIsBounded(t *testing.T) {
	const high, total = 64 << 10, 8 << 20
	c, peer, drained, _ := serveIdle(t, loop.Config{HighWatermarkBytes: high, LowWatermarkBytes: high / 4})
	all := make([]byte, total)
	rand.NewChaCha8([32]byte{1}).Read(all)
	waits := 0
	written := make(chan error, 1)
	go func() {
		for b := all; len(b) > 0; {
			n, err := c.TryWrite(b)
			if b = b[n:]; err == nil {
				continue
			}
			if err != loop.ErrBufferFull {
				written <- err
				return
			}
			if n := c.Unsent(); n > high {
				t.Errorf("%d bytes are unsent, want %d at most", n, high)
			}
			waits++
			receive(t, drained, "Drained")
		}
		written <- nil
	}()
	got := make([]byte, total)
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("the peer read other bytes than were written, or %v", err)
	}
	if err := receive(t, written, "the last TryWrite"); err != nil || waits == 0 {
		t.Errorf("%v after %d waits, want nil and some", err, waits)
	}
}

// What TryWrite and Write are given arrives in the order of the calls, from callbacks and other goroutines, with all
// sizes.
func TestTryWriteKeepsOrder(t *testing.T) {
	const messages = 2000
	random := rand.New(rand.NewPCG(7, 7))
	c, peer, drained, _ := serveIdle(t, loop.Config{HighWatermarkBytes: 256 << 10})
	done := make(chan error, 1)
	go func() { done <- readMessages(peer, messages) }()
	step := make(chan error, 1)
	for i := range messages {
		b := binary.BigEndian.AppendUint32(nil, uint32(i))
		n := random.IntN(40)
		if random.IntN(20) == 0 {
			n = random.IntN(100 << 10)
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(n)), make([]byte, n)...)
		var err error
		switch random.IntN(4) {
		case 0:
			_, err = c.Write(b)
		case 1:
			c.Loop().Run(func() {
				_, err := c.Write(b)
				step <- err
			})
			err = receive(t, step, "the function on the loop")
		default:
			for len(b) > 0 && err == nil {
				var n int
				if n, err = c.TryWrite(b); err == loop.ErrBufferFull {
					receive(t, drained, "Drained")
					err = nil
				}
				b = b[n:]
			}
		}
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		select { // of a Write
		case <-drained:
		default:
		}
	}
	if err := receive(t, done, "the last message"); err != nil {
		t.Error(err)
	}
}

// readMessages reads messages with consecutive numbers and lengths.
func readMessages(r io.Reader, messages int) error {
	var head [8]byte
	for i := range messages {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		if n := binary.BigEndian.Uint32(head[:]); n != uint32(i) {
			return errors.New("messages are out of order")
		}
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return err
		}
	}
	return nil
}

// TryWrite returns the system's error if sending fails in it, and the connection ends with that.
func TestTryWriteFails(t *testing.T) {
	skipWithLayer(t, "only the loop may call a layer, so TryWrite queues")
	c, peer, _, closed := serveIdle(t, loop.Config{Loops: 1})
	release := func() {}
	if hostOf(t) == nil {
		release = holdLoop(t, c.Loop()) // TryWrite finds the reset first
	}
	peer.SetLinger(0)
	peer.Close()
	var err error
	if !testkit.Eventually(func() bool { _, err = c.TryWrite([]byte("castor")); return err != nil }) {
		t.Fatal("TryWrite does not fail after a reset")
	}
	release()
	if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "write" || !isReset(err) {
		t.Errorf("TryWrite: %v, want a *net.OpError with ECONNRESET or EPIPE", err)
	}
	if why := receive(t, closed, "Closed"); !isReset(why) {
		t.Errorf("Closed: %v", why)
	}
	if n, err := c.TryWrite(nil); n != 0 || !errors.Is(err, loop.ErrClosed) {
		t.Errorf("TryWrite after Closed: %d, %v", n, err)
	}
}
