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

// An echo server, and a client of package net.
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

// The zero Config works. What is out of range is named.
func ExampleNewGroup() {
	g, err := loop.NewGroup(loop.Config{
		Loops:         2,
		MaxConns:      10_000,
		RefuseAbove:   true,
		HighWatermark: 64 << 10,
		LowWatermark:  16 << 10,
		IdleTimeout:   time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(g.Loops()), "loops")
	fmt.Println(g.Shutdown(context.Background()))

	_, err = loop.NewGroup(loop.Config{Loops: -1})
	fmt.Println(errors.Is(err, loop.ErrBadConfig), err)
	// Output:
	// 2 loops
	// <nil>
	// true loop: bad configuration or argument: Loops is -1; it must be from 1 to 1024
}

// lines is a protocol of lines. What Data does not consume, the beginning of a line,
// comes back with what follows it.
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

// State lives in the handler: the function given to Listen makes one for each
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

// ask sends a request, ends its side, and returns what comes until the end.
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

// Serve is for a listening socket with options of one's own, or an inherited one.
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
		log.Fatal(err) // the socket is closed then, too
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

// ReadClosed: the peer has sent all it will, and may still read.
func (greeter) ReadClosed(c *loop.Conn) {
	fmt.Println("read closed")
	io.WriteString(c, "; good-bye")
	c.Close()
}

func (greeter) Drained(*loop.Conn)    { fmt.Println("drained") } // after too much was written
func (greeter) Shutdown(c *loop.Conn) { c.Close() }
func (h greeter) Closed(_ *loop.Conn, why error) {
	fmt.Println("closed:", why)
	h.closed <- why
}

// The optional methods, in the order in which they are called.
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

// client prints what comes.
type client struct{ done chan<- error }

func (h client) Opened(c *loop.Conn)            { io.WriteString(c, "hello") }
func (h client) Closed(_ *loop.Conn, why error) { h.done <- why }
func (h client) Data(c *loop.Conn, b []byte) (int, error) {
	fmt.Printf("%s\n", b)
	return len(b), c.Close()
}

// Dial waits until the connection is open; its handler does the rest.
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

// On a loop nothing may wait: Loop.Dial calls back.
func ExampleLoop_Dial() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())

	ended := make(chan error, 1)
	const nobody = "127.0.0.1:1" // no server is there
	err = g.Loops()[0].Dial(context.Background(), "tcp", nobody, func(*loop.Conn) loop.Handler { return echo{} },
		func(_ *loop.Conn, err error) { ended <- err })
	if err == nil {
		err = <-ended
	}
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED))
	// Output: true
}

// worker closes its connection once it is idle.
type worker struct{ busy bool }

func (h *worker) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

// Shutdown is called when the group begins to shut down.
func (h *worker) Shutdown(c *loop.Conn) {
	if !h.busy {
		io.WriteString(c, "the server ends")
		c.Close()
	}
}

// Shutdown stops accepting at once; connections have until ctx ends.
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
	io.ReadFull(c, make([]byte, 1)) // so the connection is open on the other side, too
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
	// the server ends
	// <nil> 0
}

// Stats asks every loop, so it is not for a loop's own callbacks.
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
		fmt.Println(l.Accepts, "accepted,", l.BytesIn, "bytes in,", l.BytesOut, "out,", l.UnsentBytes, "wait")
	}
	// Output: 1 accepted, 1000 bytes in, 1000 out, 0 wait
}
