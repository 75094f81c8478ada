package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// handlerFunc is a handler with Data only.
type handlerFunc func(c *loop.Conn, b []byte) (int, error)

func (f handlerFunc) Data(c *loop.Conn, b []byte) (int, error) { return f(c, b) }

// exampleServer serves accept on a loopback port. end shuts the group down.
func exampleServer(config loop.Config, accept func(*loop.Conn) loop.Handler) (addr net.Addr, end func()) {
	g, err := loop.NewGroup(config)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", accept)
	if err != nil {
		log.Fatal(err)
	}
	return ln.Addr(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
}

// Write takes all or nothing: a write that exceeds MaxUnsentBytes returns an error, and none of it is
// sent.
func ExampleConn_Write() {
	addr, end := exampleServer(loop.Config{HighWatermarkBytes: 1 << 10, MaxUnsentBytes: 1 << 20}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			n, err := c.Write(make([]byte, 2<<20))
			fmt.Println(n, errors.Is(err, loop.ErrBufferFull))
			c.Write([]byte("too much"))
			return len(b), nil
		})
	})
	defer end()
	fmt.Println(ask(addr, "GET /large"))
	// Output:
	// 0 true
	// too much
}

// A header and a body are written without copying them into one slice.
func ExampleConn_Writev() {
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			header := fmt.Appendf(nil, "%d ", len(b))
			if _, err := c.Writev([][]byte{header, b}); err != nil {
				return 0, err
			}
			return len(b), nil
		})
	})
	defer end()
	fmt.Println(ask(addr, "hello"))
	// Output: 5 hello
}

// WriteOwned copies nothing: the slice may be reused once done has been called.
func ExampleConn_WriteOwned() {
	sent := make(chan error, 1)
	page := bytes.Repeat([]byte("page "), 100_000)
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			if _, err := c.WriteOwned(page, func(err error) { sent <- err }); err != nil {
				return 0, err
			}
			return len(b), nil
		})
	})
	defer end()
	fmt.Println(len(ask(addr, "x")))
	fmt.Println(<-sent)
	// Output:
	// 500000
	// <nil>
}

// query answers one line at a time, with work that may block.
type query struct{}

func (query) Data(c *loop.Conn, b []byte) (int, error) {
	line, _, whole := strings.Cut(string(b), "\n")
	if !whole {
		return 0, nil
	}
	c.Pause() // nothing more is received, and Data is not called, until Resume
	err := loop.Offload(c,
		func() (string, error) { return strings.ToUpper(line), nil }, // a database, a file, a long computation
		func(answer string, err error) {
			if err != nil {
				answer = "error"
			}
			fmt.Fprintln(c, answer)
			c.Resume()
		})
	return len(line) + 1, err
}

// One request at a time: reading is paused while a request is processed.
func ExampleConn_Pause() {
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler { return query{} })
	defer end()
	fmt.Print(ask(addr, "castor\npollux\n"))
	// Output:
	// CASTOR
	// POLLUX
}

// source sends n bytes, as fast as the peer takes them.
type source struct{ n int }

func (h *source) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (h *source) ReadClosed(*loop.Conn)                    {} // the peer still reads
func (h *source) Opened(c *loop.Conn)                      { h.Drained(c) }

// Drained is called when the unsent bytes have fallen to the low watermark.
func (h *source) Drained(c *loop.Conn) {
	const high = 64 << 10
	chunk := make([]byte, 4<<10)
	for h.n > 0 && c.Unsent() <= high { // above it, Drained will be called
		n, err := c.Write(chunk[:min(h.n, len(chunk))])
		if err != nil {
			return // closed
		}
		h.n -= n
	}
	if h.n == 0 {
		c.Close()
	}
}

// Much data is sent in chunks: up to the high watermark, then more whenever Drained is called, so
// that a slow peer uses little memory.
func ExampleDrainedHandler() {
	addr, end := exampleServer(loop.Config{HighWatermarkBytes: 64 << 10, LowWatermarkBytes: 16 << 10},
		func(*loop.Conn) loop.Handler { return &source{n: 10_000_000} })
	defer end()
	fmt.Println(len(ask(addr, "")))
	// Output: 10000000
}

// impatient closes its connection after a short time without activity.
type impatient struct{ closed chan<- error }

func (h impatient) Opened(c *loop.Conn)                      { c.SetIdleTimeout(20 * time.Millisecond) }
func (h impatient) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (h impatient) Closed(_ *loop.Conn, why error)           { h.closed <- why }

// An idle connection is closed.
func ExampleConn_SetIdleTimeout() {
	closed := make(chan error, 1)
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler { return impatient{closed} })
	defer end()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(errors.Is(<-closed, loop.ErrTimeout))
	// Output: true
}

// login must complete within ten seconds, however slowly the bytes arrive.
type login struct{}

func (login) Opened(c *loop.Conn) { c.SetReadDeadline(time.Now().Add(10 * time.Second)) }

func (login) Data(c *loop.Conn, b []byte) (int, error) {
	name, _, whole := bytes.Cut(b, []byte("\n"))
	if !whole {
		return 0, nil
	}
	c.SetReadDeadline(time.Time{}) // in time: remove the deadline
	fmt.Fprintf(c, "hello, %s\n", name)
	return len(name) + 1, nil
}

// A deadline for a whole request keeps a peer that sends byte by byte from holding a
// connection open forever.
func ExampleConn_SetReadDeadline() {
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler { return login{} })
	defer end()
	fmt.Print(ask(addr, "Pollux\n"))
	// Output: hello, Pollux
}

// A protocol that begins with another one: the next handler gets the bytes that the first one has
// not consumed.
func ExampleConn_SetHandler() {
	const preface = "UPGRADE\n"
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			switch {
			case len(b) < len(preface):
				return 0, nil
			case !bytes.HasPrefix(b, []byte(preface)):
				return 0, errors.New("no preface")
			}
			return len(preface), c.SetHandler(&lines{})
		})
	})
	defer end()
	fmt.Print(ask(addr, preface+"first\n"))
	// Output: 1: first
}

// CloseWrite half-closes the connection; the peer may go on sending.
func ExampleConn_CloseWrite() {
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler { return echo{} })
	defer end()
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	got := make(chan string, 1)
	c, err := g.Dial(context.Background(), "tcp", addr.String(), func(*loop.Conn) loop.Handler { return &collect{got: got} })
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(c, "everything, then the end")
	if err := c.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-got)
	// Output: everything, then the end
}

// collect keeps the received bytes until the connection ends.
type collect struct {
	all []byte
	got chan<- string
}

func (h *collect) Data(_ *loop.Conn, b []byte) (int, error) {
	h.all = append(h.all, b...) // b itself belongs to the loop
	return len(b), nil
}

func (h *collect) Closed(*loop.Conn, error) { h.got <- string(h.all) }

// DetachStream passes the socket to code outside the loop: here it writes, and closes.
func ExampleConn_DetachStream() {
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			return len(b), c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
				if err != nil {
					log.Print(err) // the connection ended first
					return
				}
				defer s.Close()
				if _, err := s.Write([]byte("from the socket")); err != nil {
					log.Print(err) // ErrWouldBlock is possible: a Poll reports when it is writable
				}
			})
		})
	})
	defer end()
	fmt.Println(ask(addr, "hello"))
	// Output: from the socket
}
