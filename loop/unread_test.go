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

// A handler that pauses with more unread than MaxUnread gets it once it resumes, from
// whichever goroutine, and no more is received until it has consumed some of it.
func TestL4ResumeAboveMaxUnread(t *testing.T) {
	const total, late = 2 << 20, 512 << 10
	conns, done := make(chan *loop.Conn, total), make(chan struct{})
	n, most := 0, 0
	_, peer := serve(t, loop.Config{MaxUnread: smallUnread}, func(*loop.Conn) loop.Handler {
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
				t.Errorf("%d bytes were unread", most)
			}
			return
		case <-time.After(testTimeout):
			t.Fatal("nothing comes after Resume")
		}
	}
}

// The next handler gets what the one before has left, also if that is more than
// MaxUnread.
func TestL4SetHandlerAboveMaxUnread(t *testing.T) {
	got := make(chan int, 1)
	n := 0
	_, peer := serve(t, loop.Config{MaxUnread: smallUnread}, func(*loop.Conn) loop.Handler {
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
	receive(t, got, "everything")
}

// A handler that waits for more than may be unread would wait for ever.
func TestUnreadFull(t *testing.T) {
	closed := make(chan error, 1)
	_, peer := serve(t, loop.Config{MaxUnread: smallUnread}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(_ *loop.Conn, b []byte) (int, error) { return max(bytes.IndexByte(b, '\n'), 0), nil },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	peer.Write(make([]byte, 2*smallUnread))
	peer.CloseWrite()
	if why := receive(t, closed, "the end"); !errors.Is(why, loop.ErrUnreadFull) {
		t.Errorf("closed because of %v", why)
	}
}

// The peer's end waits until Data has had again what it left at a Pause, or what
// another handler left.
func TestReadClosedComesLast(t *testing.T) {
	const requests = 100
	for name, again := range map[string]func(c *loop.Conn, h loop.Handler){
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
				again(c, h)
				return 1, nil
			}
			_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return h })
			peer.Write(make([]byte, requests))
			peer.CloseWrite()
			if n := receive(t, counted, "the end"); n != requests {
				t.Errorf("%d of %d requests before the end", n, requests)
			}
		})
	}
}

// What Data leaves for want of room to answer comes again once there is some, also if that
// is at once: before what was left has been put aside.
func TestL4LeftForWantOfRoom(t *testing.T) {
	const high, answerBytes, questions = 4 << 10, 8 << 10, 5
	_, peer := serve(t, loop.Config{HighWatermark: high, LowWatermark: 1 << 10, Loops: 1}, func(*loop.Conn) loop.Handler {
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
		t.Fatalf("%d bytes of answers, want %d: %v", n, questions*answerBytes, err)
	}
	// The end of the stream is no reason to forget what was left, either.
	peer.Write(make([]byte, questions))
	peer.CloseWrite()
	if n, err := io.Copy(io.Discard, peer); n != questions*answerBytes || err != nil {
		t.Errorf("%d bytes of answers before the end, want %d: %v", n, questions*answerBytes, err)
	}
}
