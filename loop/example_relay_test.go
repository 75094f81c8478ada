package loop_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/pollux-io/pollux/loop"
)

// startShouter starts a server that answers in capitals, until its peer closes.
func startShouter(g *loop.Group) net.Addr {
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return upperCase{} })
	if err != nil {
		log.Fatal(err)
	}
	return ln.Addr()
}

type upperCase struct{}

func (upperCase) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(bytes.ToUpper(b)) }

// askAndClose sends a message to a server, closes its side, and returns the answer.
func askAndClose(address net.Addr, message string) string {
	c, err := net.Dial("tcp", address.String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, message)
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	return string(answer)
}

// A TCP proxy: every client is relayed to one server.
func ExampleRelayTo() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	server := startShouter(g)

	ended := make(chan loop.RelayEnd, 1)
	relay, err := loop.RelayTo("tcp", server.String(), loop.RelayConfig{
		OnEnd: func(end loop.RelayEnd) { ended <- end },
	})
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return relay })
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(askAndClose(proxy.Addr(), "hello"))
	end := <-ended
	fmt.Println(end.BytesAToB, "bytes to the server,", end.BytesBToA, "back, error:", end.Err)
	// Output:
	// HELLO
	// 5 bytes to the server, 5 back, error: <nil>
}

// tunnel is the handler of a client that names its server in a first line, as those of HTTP's
// CONNECT do.
type tunnel struct{}

func (tunnel) Data(c *loop.Conn, b []byte) (int, error) {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	if !whole {
		return 0, nil
	}
	c.Pause() // until the relay begins: what follows the line is for the server
	err := c.Loop().Dial(c.Context(), "tcp", string(line),
		func(*loop.Conn) loop.Handler { return upperCase{} }, // replaced at once
		func(server *loop.Conn, err error) {
			if err != nil {
				c.CloseWith(err)
				return
			}
			io.WriteString(c, "connected: ")
			if err := loop.Relay(c, server, loop.RelayConfig{}); err != nil {
				server.AbortWith(err)
				c.AbortWith(err)
			}
		})
	return len(line) + 1, err
}

// A tunnel: the client names the server, and its connection is relayed from then on.
func ExampleRelay() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	server := startShouter(g)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tunnel{} })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(askAndClose(ln.Addr(), server.String()+"\nhello"))
	// Output: connected: HELLO
}
