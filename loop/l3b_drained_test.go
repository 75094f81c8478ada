package loop_test

import (
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// L3b: bytes that Data has left, and that are to be delivered again together with Drained, are
// delivered before Closed, if sending fails meanwhile.
func TestL3bLeftBytesAndDrained(t *testing.T) {
	const high = 1000
	peers, closed := make(chan tcpConn, 1), make(chan bool)
	var log steps
	h := &funcs{
		data: func(_ *loop.Conn, b []byte) (int, error) {
			log.add("data %s", b)
			if len(log.list) == 1 {
				return 0, nil
			}
			return len(b), nil
		},
		readClosed: func(c *loop.Conn) {
			log.add("read closed")
			c.Loop().Run(func() { // before the requests that follow from the write
				peer := <-peers
				peer.SetLinger(0)
				peer.Close()
				c.Write([]byte("x"))
			})
			c.Write(make([]byte, 2*high)) // it is sent at once: Drained follows, and Data gets again what it has left
		},
		drained: func(*loop.Conn) { log.add("drained") },
		closed:  func(*loop.Conn, error) { log.add("closed"); close(closed) },
	}
	_, peer := serve(t, loop.Config{Loops: 1, HighWatermarkBytes: high, LowWatermarkBytes: high}, func(*loop.Conn) loop.Handler { return h })
	io.WriteString(peer, "abc")
	peer.CloseWrite()
	peers <- peer
	receive(t, closed, "Closed")
	log.check(t, "data abc", "read closed", "drained", "data abc", "closed")
}

// L3b: if nothing is unread, Closed is called at once, also while the handler has paused, and also
// if Drained, which is called because sending has failed, has replaced the handler and paused.
func TestL3bDrainedReplacesHandlerAndPauses(t *testing.T) {
	closed := make(chan bool)
	blocked := make(chan *loop.Conn, 1)
	_, peer := serve(t, loop.Config{Loops: 1, LingerTimeout: time.Hour, Logger: quiet()}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				c.SetBackpressure(false)      // so that the reset is read before Drained is called
				c.Write(make([]byte, 32<<20)) // more than the kernels hold
				blocked <- c
			},
			readClosed: func(*loop.Conn) {}, // on Wine, a reset may look like EOF first
			drained: func(c *loop.Conn) {
				c.SetHandler(&funcs{closed: func(*loop.Conn, error) { close(closed) }})
				c.Pause()
			},
		}
	})
	waitTurns(t, receive(t, blocked, "the connection"))
	peer.SetLinger(0)
	peer.Close()
	receive(t, closed, "Closed")
}
