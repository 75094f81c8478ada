package looptest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// feed sends blocks, as fast as its peer takes them. It stops at the high watermark of unsent bytes, and
// continues in Drained.
type feed struct {
	blocks, most int // blocks that are left; the most bytes that were unsent
}

func (f *feed) Opened(c *loop.Conn)  { f.send(c) }
func (f *feed) Drained(c *loop.Conn) { f.send(c) }

func (f *feed) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

func (f *feed) send(c *loop.Conn) {
	for ; f.blocks > 0 && c.Unsent() <= watermark; f.blocks-- {
		c.Write(make([]byte, blockBytes))
		f.most = max(f.most, c.Unsent())
	}
	if f.blocks == 0 {
		c.Close()
	}
}

const (
	watermark  = 64 << 10
	blockBytes = 16 << 10
)

// testSlowReader reads 4 KiB a second, of 4 MiB. The handler must not queue it all.
func testSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const blocks = 256
		f := &feed{blocks: blocks}
		n := looptest.New(t, looptest.Config{})
		peer := n.Pipe(loop.Config{HighWatermarkBytes: watermark}, func(c *loop.Conn) loop.Handler {
			c.SetWriteBuffer(watermark)
			return f
		})
		peer.SetReadBuffer(watermark)
		got := 0
		for b := make([]byte, 4<<10); ; time.Sleep(time.Second) {
			k, err := peer.Read(b)
			got += k
			if err != nil {
				break
			}
		}
		if got != blocks*blockBytes {
			t.Errorf("the peer got %d bytes, want %d", got, blocks*blockBytes)
		}
		if limit := watermark + blockBytes; f.most > limit {
			t.Errorf("%d bytes were unsent, want at most %d", f.most, limit)
		}
	})
}

// A peer that reads slowly fills the buffers of both sockets. Small ones, of SetReadBuffer and
// SetWriteBuffer, show soon what the handler does then. The 17 minutes take no time.
func Example_slowReader() {
	testSlowReader(t)
}
