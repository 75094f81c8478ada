package loop_test

import (
	"bytes"
	"errors"
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
		case <-time.After(patience):
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
