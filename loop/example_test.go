package loop_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// An echo server, and a client that uses package net.
func Example() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "hello")
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Printf("%q %v\n", line, err)
	// Output: "hello\n" <nil>
}

// The zero Config is valid. The error names a field that is out of range.
func ExampleNewGroup() {
	g, err := loop.NewGroup(loop.Config{
		Loops:              2,
		MaxConns:           10_000,
		RefuseAbove:        true,
		HighWatermarkBytes: 64 << 10,
		LowWatermarkBytes:  16 << 10,
		IdleTimeout:        time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(g.Loops()), "loops")
	fmt.Println(g.Shutdown(context.Background()))

	_, err = loop.NewGroup(loop.Config{Loops: -1})
	fmt.Println(errors.Is(err, loop.ErrBadArgument), err)
	// Output:
	// 2 loops
	// <nil>
	// true loop: bad argument: Loops is -1; it must be from 1 to 1024
}

// lines is a protocol of lines. The bytes that Data does not consume, the beginning of a line,
// are delivered again together with those that follow.
type lines struct{ n int }

func (h *lines) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	for {
		line, rest, whole := bytes.Cut(b[consumed:], []byte("\n"))
		if !whole {
			return consumed, nil
		}
		consumed = len(b) - len(rest)
		h.n++
		fmt.Fprintf(c, "%d: %s\n", h.n, line)
	}
}

// Per-connection state is in the handler: the function given to Listen returns one for each
// connection.
func ExampleGroup_Listen() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return &lines{} })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(ask(ln.Addr(), "one\ntwo\n"))
	// Output:
	// 1: one
	// 2: two
}

// ask sends a request, half-closes, and returns everything that it reads until EOF.
func ask(a net.Addr, request string) string {
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		log.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	return string(answer)
}

// Serve is for a listening socket with options of the caller, or for an inherited one.
func ExampleGroup_Serve() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	socket, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), sock.Backlog(4096))
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Serve(socket, func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err) // Serve has closed the socket
	}
	fmt.Println(ask(ln.Addr(), "hello"))
	// Output: hello
}

// greeter has every optional method of a handler.
type greeter struct{ closed chan<- error }

func (greeter) Opened(c *loop.Conn) {
	fmt.Println("opened")
	io.WriteString(c, "welcome, ")
}

func (greeter) Data(c *loop.Conn, b []byte) (int, error) {
	fmt.Printf("data: %s\n", b)
	return c.Write(b)
}

// ReadClosed: the peer has half-closed, and may still read.
func (greeter) ReadClosed(c *loop.Conn) {
	fmt.Println("read closed")
	io.WriteString(c, "; good-bye")
	c.Close()
}

func (greeter) Drained(*loop.Conn)    { fmt.Println("drained") } // after unsent bytes exceeded the high watermark
func (greeter) Shutdown(c *loop.Conn) { c.Close() }
func (h greeter) Closed(_ *loop.Conn, why error) {
	fmt.Println("closed:", why)
	h.closed <- why
}

// The optional methods, in the order of the calls.
func ExampleHandler() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	closed := make(chan error, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return greeter{closed} })
	if err != nil {
		log.Fatal(err)
	}
	answer := ask(ln.Addr(), "Leda")
	<-closed
	fmt.Println(answer)
	// Output:
	// opened
	// data: Leda
	// read closed
	// closed: <nil>
	// welcome, Leda; good-bye
}

// client prints the answer.
type client struct{ done chan<- error }

func (h client) Opened(c *loop.Conn)            { io.WriteString(c, "hello") }
func (h client) Closed(_ *loop.Conn, why error) { h.done <- why }
func (h client) Data(c *loop.Conn, b []byte) (int, error) {
	fmt.Printf("%s\n", b)
	return len(b), c.Close()
}

// Dial waits until the connection is open; from then on its handler is called.
func ExampleGroup_Dial() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	if _, err := g.Dial(ctx, "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return client{done} }); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-done)
	// Output:
	// hello
	// <nil>
}

// A loop's callbacks must not wait: Loop.Dial calls back.
func ExampleLoop_Dial() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())

	ended := make(chan error, 1)
	const refusing = "127.0.0.1:1" // no server listens here
	err = g.Loops()[0].Dial(context.Background(), "tcp", refusing, func(*loop.Conn) loop.Handler { return echo{} },
		func(_ *loop.Conn, err error) { ended <- err })
	if err == nil {
		err = <-ended
	}
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED))
	// Output: true
}

// worker closes its connection on shutdown unless it is busy.
type worker struct{ busy bool }

func (h *worker) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

// Shutdown is called when the group begins to shut down.
func (h *worker) Shutdown(c *loop.Conn) {
	if !h.busy {
		io.WriteString(c, "the server shuts down")
		c.Close()
	}
}

// Shutdown stops accepting immediately; open connections may finish until ctx ends.
func ExampleGroup_Shutdown() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return &worker{} })
	if err != nil {
		log.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(c, "x")
	io.ReadFull(c, make([]byte, 1)) // so the server has opened the connection, too
	last := make(chan string, 1)
	go func() {
		defer c.Close()
		b, _ := io.ReadAll(c)
		last <- string(b)
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = g.Shutdown(ctx)
	fmt.Println(<-last)
	fmt.Println(err, g.Conns())
	// Output:
	// the server shuts down
	// <nil> 0
}

// Stats waits for the loops, for 100 ms at the most. In a callback it does not wait, and has partial
// figures of the other loops.
func ExampleGroup_Stats() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}
	ask(ln.Addr(), strings.Repeat("x", 1000))
	if err := g.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, l := range g.Stats().Loops {
		fmt.Println(l.Accepts, "accepted,", l.BytesIn, "bytes in,", l.BytesOut, "out,", l.UnsentBytes, "unsent")
	}
	// Output: 1 accepted, 1000 bytes in, 1000 out, 0 unsent
}
