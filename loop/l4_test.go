package loop_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L4: a producer that writes up to the high watermark, and again at each Drained, never has more
// unsent than the watermark and two writes, however slow the reader.
func TestL4Watermarks(t *testing.T) {
	const high, low, chunk, total = 128 << 10, 32 << 10, 8 << 10, 32 << 20
	var most, written, drained atomic.Int64
	produce := func(c *loop.Conn) {
		for c.Unsent() <= high && written.Load() < total {
			if _, err := c.Write(make([]byte, chunk)); err != nil {
				t.Errorf("Write: %v", err)
				return
			}
			written.Add(chunk)
			most.Store(max(most.Load(), int64(c.Unsent())))
		}
		if written.Load() == total {
			c.Close()
		}
	}
	_, c := serve(t, loop.Config{HighWatermarkBytes: high, LowWatermarkBytes: low}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: produce, drained: func(c *loop.Conn) { drained.Add(1); produce(c) }}
	})
	got, err := io.Copy(io.Discard, c)
	if err != nil || got != total {
		t.Fatalf("the peer read %d bytes, %v, want %d", got, err, total)
	}
	if drained.Load() == 0 {
		t.Error("Drained was never called")
	}
	if most.Load() > high+2*chunk {
		t.Errorf("%d bytes were unsent at most, want %d or fewer", most.Load(), high+2*chunk)
	}
}

// Drained is not called if nothing was queued: the kernel has taken all of a large write
// immediately, and a small one follows.
func TestL4DrainedWithoutQueue(t *testing.T) {
	unsent, drained := make(chan int, 1), make(chan bool, 1)
	sent := make(chan error, 1)
	_, c := serve(t, loop.Config{HighWatermarkBytes: 32 << 10}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				if string(b) == "small" {
					c.WriteOwned([]byte("x"), func(err error) { sent <- err })
					return len(b), nil
				}
				c.Write(make([]byte, 128<<10))
				unsent <- c.Unsent()
				return len(b), nil
			},
			drained: func(*loop.Conn) { drained <- true },
		}
	})
	c.Write([]byte("large"))
	if n := receive(t, unsent, "the large write"); n > 0 {
		t.Skipf("the kernel took the large write but for %d bytes", n)
	}
	if _, err := io.ReadFull(c, make([]byte, 128<<10)); err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("small"))
	receive(t, sent, "the small write")
	c.Write([]byte("large")) // a turn later
	receive(t, unsent, "the next large write")
	if len(drained) > 0 {
		t.Error("Drained was called, but nothing was queued")
	}
}

func TestL4ReadingStopsAboveTheWatermark(t *testing.T) {
	var got atomic.Int64
	_, c := serve(t, loop.Config{HighWatermarkBytes: 64 << 10, LowWatermarkBytes: 1 << 10, Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			got.Add(int64(len(b)))
			return c.Write(b)
		}}
	})
	// A peer that only writes: the echo must stop reading.
	b := make([]byte, 64<<10)
	sent := 0
	if !testkit.Eventually(func() bool {
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Write(b)
		if sent += n; err != nil && !isTimeout(err) {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
		return n == 0 && got.Load() > 0
	}) {
		t.Fatalf("the peer has sent %d bytes, of which Data got %d, and can send more", sent, got.Load())
	}
	if n := got.Load(); n > int64(sent) {
		t.Fatalf("Data got %d bytes, want at most the %d sent", n, sent)
	}
	c.SetDeadline(time.Now().Add(testTimeout))
	c.CloseWrite()
	if n, err := io.Copy(io.Discard, c); n != int64(sent) || err != nil {
		t.Errorf("echo: got %d bytes, %v, want %d", n, err, sent)
	}
}

func TestL4PauseAndResume(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	datas := make(chan string, 100)
	_, c := serve(t, loop.Config{}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Pause() // before the test may call Resume
			datas <- string(b)
			return 1, nil // one byte at a time
		}}
	})
	s := receive(t, conns, "the connection")
	c.Write([]byte("abc"))
	for _, want := range []string{"abc", "bc", "c"} {
		if got := receive(t, datas, want); got != want {
			t.Fatalf("Data got %q, want %q", got, want)
		}
		select {
		case got := <-datas:
			t.Fatalf("Data got %q while paused", got)
		case <-time.After(10 * time.Millisecond):
		}
		s.Resume()
	}
}

// Drained follows a write that returned ErrBufferFull, even if the unsent bytes were never above
// the high watermark.
func TestL4DrainedAfterRefusal(t *testing.T) {
	const most = 1 << 20
	results, drained := make(chan error, 1), make(chan bool, 1)
	_, c := serve(t, loop.Config{MaxUnsentBytes: most}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write(make([]byte, 10<<10))
				_, err := c.Write(make([]byte, most-5<<10))
				results <- err
				return len(b), nil
			},
			drained: func(*loop.Conn) { drained <- true },
		}
	})
	c.Write([]byte("x"))
	if err := receive(t, results, "the result of the write"); !errors.Is(err, loop.ErrBufferFull) {
		t.Fatalf("Write: got %v, want ErrBufferFull", err)
	}
	receive(t, drained, "Drained")
}
