package loop_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Options of package sock configure the listening sockets and their connections. One that does not
// apply is an error.
func ExampleGroup_Listen_options() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	ln, err := g.Listen("tcp", "127.0.0.1:0", accept,
		sock.Backlog(4096),
		sock.ReadBuffer(1<<20),
		sock.KeepAlive(net.KeepAliveConfig{Enable: true, Idle: time.Minute}),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ask(ln.Addr(), "hello"))

	_, err = g.Listen("tcp", "127.0.0.1:0", accept, sock.LocalAddr(netip.MustParseAddrPort("127.0.0.1:0")))
	fmt.Println(errors.Is(err, loop.ErrBadArgument))
	// Output:
	// hello
	// true
}

// addressSender sends its peer the address that it has.
type addressSender struct{}

func (addressSender) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (addressSender) Opened(c *loop.Conn) {
	fmt.Fprintf(c, "hello, %v", c.RemoteAddr().(*net.TCPAddr).IP)
}

// A connection can be dialed from an address of the caller's choice.
func ExampleGroup_Dial_options() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return addressSender{} })
	if err != nil {
		log.Fatal(err)
	}

	done := make(chan error, 1)
	from := netip.MustParseAddrPort("127.0.0.1:0") // the system chooses the port
	_, err = g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return printer{done} },
		sock.LocalAddr(from), sock.NoDelay(false))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-done)
	// Output:
	// hello, 127.0.0.1
	// <nil>
}

// printer prints the first bytes that it receives, and closes.
type printer struct{ done chan<- error }

func (h printer) Closed(_ *loop.Conn, why error) { h.done <- why }
func (h printer) Data(c *loop.Conn, b []byte) (int, error) {
	fmt.Printf("%s\n", b)
	return len(b), c.Close()
}

// A connection with large responses, of which there are many, has low watermarks of its own: its
// producer is paused earlier, so that it uses less memory.
func ExampleConn_SetWatermarks() {
	addr, end := exampleServer(loop.Config{}, func(c *loop.Conn) loop.Handler {
		if err := c.SetWatermarks(64<<10, 16<<10); err != nil {
			log.Fatal(err)
		}
		return &source{n: 1_000_000}
	})
	defer end()
	fmt.Println(len(ask(addr, "")))
	// Output: 1000000
}
