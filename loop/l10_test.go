package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

func TestL10Detach(t *testing.T) {
	skipWithLayer(t, needsDetach)
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
		t.Skipf("this system cannot convert a socket to a net.Conn: %v", r.err)
	}
	if r.err != nil || string(r.unread) != "rest" {
		t.Fatalf("Detach: got %q unread, %v, want rest, nil", r.unread, r.err)
	}
	defer r.c.Close()
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
		t.Errorf("Closed got %v, want ErrDetached", why)
	}
	b := make([]byte, 64)
	if n, err := io.ReadFull(c, b[:14]); err != nil {
		t.Fatalf("the peer read %q, %v, want what was written before Detach", b[:n], err)
	}
	r.c.Write([]byte("plain"))
	if n, err := io.ReadFull(c, b[:5]); err != nil || string(b[:n]) != "plain" {
		t.Errorf("the peer read %q, %v, want plain", b[:n], err)
	}
	c.Write([]byte("and back"))
	r.c.SetDeadline(time.Now().Add(testTimeout))
	if n, err := io.ReadFull(r.c, b[:8]); err != nil || string(b[:n]) != "and back" {
		t.Errorf("the net.Conn read %q, %v, want and back", b[:n], err)
	}
}

// L10: DetachStream returns the socket and the bytes that were received and not consumed.
func TestL10DetachStream(t *testing.T) {
	skipWithLayer(t, needsDetach)
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
				if len(b) < len("GET rest") {
					return 0, nil
				}
				c.Write([]byte("101"))
				return 4, c.DetachStream(func(s *sock.Stream, unread []byte, err error) { got <- result{s, unread, err} })
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("GET rest"))
	r := receive(t, got, "the detached stream")
	if r.err != nil || string(r.unread) != "rest" {
		t.Fatalf("Detach: got %q unread, %v, want rest, nil", r.unread, r.err)
	}
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
		t.Errorf("Closed got %v, want ErrDetached", why)
	}
	b := make([]byte, 64)
	if n, err := io.ReadFull(c, b[:3]); err != nil {
		t.Fatalf("the peer read %q, %v, want what was written before Detach", b[:n], err)
	}
	c.Write([]byte("hello"))
	ready := make(chan bool, 100)
	if _, err := g.Loops()[0].Watch(context.Background(), r.s, pollux.Readable, func(ev pollux.Event) { ready <- ev.Readable() }); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len("hello"); {
		k, err := r.s.Read(b[n:])
		if errors.Is(err, sock.ErrWouldBlock) {
			receive(t, ready, "an event of the stream")
		} else if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if string(b[:5]) != "hello" {
		t.Errorf("the stream read %q, want hello", b[:5])
	}
	if _, err := r.s.Write([]byte("bye")); err != nil {
		t.Error(err)
	}
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(c); string(rest) != "bye" || err != nil {
		t.Errorf("the peer read %q, %v, want bye", rest, err)
	}
}

// Data returns an error after another goroutine has called DetachStream: the connection is then
// closing, and must not be detached as if it were intact.
func TestL10DetachWhileClosing(t *testing.T) {
	skipWithLayer(t, needsDetach)
	mistake := errors.New("a mistake")
	type result struct {
		s      *sock.Stream
		unread string
		err    error
	}
	results, closed := make(chan result, 1), make(chan error, 1)
	_, c := serve(t, loop.Config{LingerTimeout: 100 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				done := make(chan bool)
				go func() { // another goroutine calls first
					c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
						results <- result{s, string(unread), err}
					})
					close(done)
				}()
				<-done
				return 1, mistake
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("hello"))
	r := receive(t, results, "the result")
	why := receive(t, closed, "Closed")
	if r.err == nil {
		_, err := r.s.Write([]byte("x"))
		t.Errorf("DetachStream returned the stream with %q unread, want an error; writing to it: %v; Closed got %v", r.unread, err, why)
		r.s.Close()
	}
	if why != mistake {
		t.Errorf("Closed got %v, want the error of Data", why)
	}
}

// A reset that arrived together with the bytes is reported by Detach, or by the detached socket.
func TestL10DetachReportsTheReset(t *testing.T) {
	skipWithLayer(t, needsDetach)
	testkit.SkipOnWine(t, "a reset is reported only once there, to the first poll")
	type result struct {
		s      *sock.Stream
		unread string
		err    error
	}
	results, opened := make(chan result, 1), make(chan bool)
	reset := make(chan bool)
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(*loop.Conn) { close(opened) },
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.DetachStream(func(s *sock.Stream, unread []byte, err error) { results <- result{s, string(unread), err} })
				return 0, nil
			},
		}
	})
	<-opened
	waitTurn(t, g.Loops()[0]) // in which it begins to receive
	held := make(chan bool)
	g.Loops()[0].Run(func() { close(held); <-reset })
	receive(t, held, "the function that blocks the loop")
	c.Write([]byte("hello"))
	waitDelivered(t, c)
	c.SetLinger(0)
	c.Close()
	close(reset)
	r := receive(t, results, "the result")
	if r.err != nil {
		return // reported by Detach
	}
	defer r.s.Close()
	b := make([]byte, 100)
	n, err := r.s.Read(b)
	if all := r.unread + string(b[:n]); n > 0 {
		r.unread = all
		_, err = r.s.Read(b)
	}
	if r.unread != "hello" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the stream read %q, then %v, want hello, then ECONNRESET", r.unread, err)
	}
}

// The accept function detaches the connection and returns nil: the connection is handed over
// intact, also after something was written.
func TestL10DetachWithoutHandler(t *testing.T) {
	skipWithLayer(t, needsDetach)
	for _, size := range []int{0, 5, 8 << 20} {
		type result struct {
			s   *sock.Stream
			err error
		}
		detached := make(chan result, 1)
		_, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(c *loop.Conn) loop.Handler {
			c.Write(make([]byte, size))
			c.DetachStream(func(s *sock.Stream, _ []byte, err error) { detached <- result{s, err} })
			return nil
		})
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		r := receive(t, detached, "the stream")
		if r.err != nil {
			t.Errorf("DetachStream after %d bytes: got %v, want nil", size, r.err)
			continue
		}
		if _, err := r.s.Write([]byte("x")); err != nil {
			t.Errorf("writing to the detached stream after %d bytes: %v", size, err)
		}
		r.s.Close()
	}
}

// The idle timeout also ends a DetachStream that waits for a peer that reads nothing.
func TestL10DetachWithPeerThatReadsNothing(t *testing.T) {
	skipWithLayer(t, needsDetach)
	ended := make(chan error, 1)
	_, c := serve(t, loop.Config{IdleTimeout: 50 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Write(make([]byte, 32<<20))
			c.DetachStream(func(s *sock.Stream, _ []byte, err error) {
				if s != nil {
					s.Close()
				}
				ended <- err
			})
			return len(b), nil
		}}
	})
	c.Write([]byte("x"))
	if err := receive(t, ended, "Detach's result"); !errors.Is(err, loop.ErrTimeout) {
		t.Errorf("DetachStream got %v, want ErrTimeout", err)
	}
}

// A connection that is aborted with a reason that wraps ErrDetached is not handed over: its
// descriptor is closed.
func TestL10AbortWithErrDetached(t *testing.T) {
	skipWithLayer(t, needsDetach)
	type result struct {
		s   *sock.Stream
		err error
	}
	results := make(chan result, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.DetachStream(func(s *sock.Stream, _ []byte, err error) { results <- result{s, err} })
			c.AbortWith(fmt.Errorf("not needed: %w", loop.ErrDetached))
			return len(b), nil
		}}
	})
	c.Write([]byte("x"))
	if r := receive(t, results, "the result"); r.s != nil || !errors.Is(r.err, loop.ErrDetached) {
		t.Errorf("DetachStream got stream %v and %v, want none and the reason of the abort", r.s, r.err)
	}
}
