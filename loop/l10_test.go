package loop_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

func TestL10Detach(t *testing.T) {
	type result struct {
		c      net.Conn
		unread []byte
		err    error
	}
	got := make(chan result, 1)
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write([]byte("HTTP/1.1 101\r\n"))
				c.Detach(func(nc net.Conn, unread []byte, err error) { got <- result{nc, unread, err} })
				return 4, nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("GET rest"))
	r := receive(t, got, "the detached connection")
	if errors.Is(r.err, errors.ErrUnsupported) {
		t.Skipf("this system makes no net.Conn of a socket: %v", r.err)
	}
	if r.err != nil || string(r.unread) != "rest" {
		t.Fatalf("detached with %q, %v", r.unread, r.err)
	}
	defer r.c.Close()
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
		t.Errorf("the reason is %v", why)
	}
	b := make([]byte, 64)
	if n, err := io.ReadFull(c, b[:14]); err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	r.c.Write([]byte("plain"))
	if n, err := io.ReadFull(c, b[:5]); err != nil || string(b[:n]) != "plain" {
		t.Errorf("%q, %v", b[:n], err)
	}
	c.Write([]byte("and back"))
	r.c.SetDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(r.c, b[:8]); err != nil || string(b[:n]) != "and back" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// L10: the socket itself, with what was received and not consumed.
func TestL10DetachStream(t *testing.T) {
	type result struct {
		s      *sock.Stream
		unread []byte
		err    error
	}
	got := make(chan result, 1)
	closed := make(chan error, 1)
	g, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write([]byte("101"))
				return 4, c.DetachStream(func(s *sock.Stream, unread []byte, err error) { got <- result{s, unread, err} })
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("GET rest"))
	r := receive(t, got, "the detached stream")
	if r.err != nil || string(r.unread) != "rest" {
		t.Fatalf("detached with %q, %v", r.unread, r.err)
	}
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
		t.Errorf("the reason is %v", why)
	}
	b := make([]byte, 64)
	if n, err := io.ReadFull(c, b[:3]); err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	c.Write([]byte("hello"))
	ready := make(chan bool, 100)
	if _, err := g.Loops()[0].Watch(r.s, func(ev pollux.Event) { ready <- ev.Readable() }); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len("hello"); {
		k, err := r.s.Read(b[n:])
		if errors.Is(err, sock.ErrWouldBlock) {
			receive(t, ready, "news of the stream")
		} else if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if string(b[:5]) != "hello" {
		t.Errorf("%q", b[:5])
	}
	if _, err := r.s.Write([]byte("bye")); err != nil {
		t.Error(err)
	}
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(c); string(rest) != "bye" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}
