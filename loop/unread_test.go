package loop_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

const smallUnread = 4 << 10

// A handler that pauses with more than MaxUnreadBytes unread gets them once it resumes, on any
// goroutine, and no more is received until it has consumed some of them.
func TestL4ResumeAboveMaxUnread(t *testing.T) {
	const total, late = 2 << 20, 512 << 10
	conns, done := make(chan *loop.Conn, total), make(chan struct{})
	n, most := 0, 0
	_, peer := serve(t, loop.Config{MaxUnreadBytes: smallUnread}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			most = max(most, len(b))
			k := min(len(b), 1000)
			if n += k; n == total {
				close(done)
			}
			c.Pause()
			conns <- c
			return k, nil
		}}
	})
	go peer.Write(make([]byte, total))
	for {
		select {
		case c := <-conns:
			c.Resume()
		case <-done:
			if most > smallUnread+late {
				t.Errorf("%d bytes were unread, want at most %d", most, smallUnread+late)
			}
			return
		case <-time.After(testTimeout):
			t.Fatal("timed out waiting for Data after Resume")
		}
	}
}

// A new handler gets the bytes that the one before has left, even if they exceed MaxUnreadBytes.
func TestL4SetHandlerAboveMaxUnread(t *testing.T) {
	skipWithLayer(t, "a layer may deliver no more than MaxUnreadBytes at a time, and then stop")
	skipOnAdversity(t, "the driver receives no more than MaxUnreadBytes at a time, and then stops")
	got := make(chan int, 1)
	n := 0
	_, peer := serve(t, loop.Config{MaxUnreadBytes: smallUnread}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			if len(b) < 2*smallUnread {
				c.Pause() // until there is enough
				c.Loop().Run(func() { c.Resume() })
				return 0, nil
			}
			c.SetHandler(&funcs{data: func(_ *loop.Conn, b []byte) (int, error) {
				if n += len(b); n == 2*smallUnread {
					got <- n
				}
				return len(b), nil
			}})
			return 0, nil
		}}
	})
	peer.Write(make([]byte, 2*smallUnread))
	receive(t, got, "all bytes")
}

// A handler that waits for more than MaxUnreadBytes would wait forever: the connection is closed.
func TestUnreadFull(t *testing.T) {
	closed := make(chan error, 1)
	_, peer := serve(t, loop.Config{MaxUnreadBytes: smallUnread}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(_ *loop.Conn, b []byte) (int, error) { return max(bytes.IndexByte(b, '\n'), 0), nil },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	peer.Write(make([]byte, 2*smallUnread))
	peer.CloseWrite()
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrUnreadFull) {
		t.Errorf("Closed got %v, want ErrUnreadFull", why)
	}
}

// ReadClosed is called only after Data has again got the bytes that it left at a Pause, or that
// another handler left.
func TestReadClosedAfterLeftBytes(t *testing.T) {
	const requests = 100
	for name, redeliver := range map[string]func(c *loop.Conn, h loop.Handler){
		"Resume": func(c *loop.Conn, _ loop.Handler) {
			c.Pause()
			c.Loop().Run(func() { c.Resume() })
		},
		"SetHandler": func(c *loop.Conn, h loop.Handler) { c.SetHandler(h) },
	} {
		t.Run(name, func(t *testing.T) {
			counted := make(chan int, 1)
			n := 0
			h := &funcs{closed: func(*loop.Conn, error) { counted <- n }}
			h.data = func(c *loop.Conn, _ []byte) (int, error) {
				n++
				redeliver(c, h)
				return 1, nil
			}
			_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return h })
			peer.Write(make([]byte, requests))
			peer.CloseWrite()
			if n := receive(t, counted, "Closed"); n != requests {
				t.Errorf("Data got %d requests before Closed, want %d", n, requests)
			}
		})
	}
}

// Bytes that Data leaves because it cannot answer above the watermark are delivered again after
// Drained, even if Drained is due immediately: before the left bytes have been stored.
func TestL4BytesLeftAboveTheWatermark(t *testing.T) {
	const high, answerBytes, questions = 4 << 10, 8 << 10, 5
	_, peer := serve(t, loop.Config{HighWatermarkBytes: high, LowWatermarkBytes: 1 << 10, Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			n := 0
			for n < len(b) && c.Unsent() <= high { // a byte is a question
				if _, err := c.Write(make([]byte, answerBytes)); err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}}
	})
	if _, err := peer.Write(make([]byte, questions)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(peer, make([]byte, questions*answerBytes)); err != nil {
		t.Fatalf("got %d bytes of answers, want %d: %v", n, questions*answerBytes, err)
	}
	// EOF does not drop the left bytes, either.
	peer.Write(make([]byte, questions))
	peer.CloseWrite()
	if n, err := io.Copy(io.Discard, peer); n != questions*answerBytes || err != nil {
		t.Errorf("got %d bytes of answers before EOF, want %d: %v", n, questions*answerBytes, err)
	}
}
