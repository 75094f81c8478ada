package loop_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"

	"github.com/pollux-io/pollux/loop"
)

var errBanned = errors.New("banned")

// guard closes a connection with a reason, which its Closed gets.
type guard struct{ closed chan error }

func (h guard) Data(c *loop.Conn, b []byte) (int, error) {
	fmt.Fprint(c, "go away")
	return len(b), c.CloseWith(errBanned) // "go away" is sent first
}

func (h guard) Closed(_ *loop.Conn, why error) { h.closed <- why }

func ExampleConn_CloseWith() {
	closed := make(chan error, 1)
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler { return guard{closed} })
	defer end()
	fmt.Println(ask(addr, "hello"))
	fmt.Println(errors.Is(<-closed, errBanned))
	// Output:
	// go away
	// true
}

// Work in another goroutine ends when the client is gone, even if the handler has paused.
func ExampleConn_Context() {
	begun, ended := make(chan struct{}), make(chan error, 1)
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			c.Pause()
			ctx := c.Context()
			err := loop.Offload(c, func() (string, error) {
				close(begun)
				<-ctx.Done() // a query that takes a context
				ended <- ctx.Err()
				return "", ctx.Err()
			}, nil)
			return len(b), err
		})
	})
	defer end()
	client, err := net.Dial("tcp", addr.String())
	if err != nil {
		log.Fatal(err)
	}
	client.Write([]byte("query"))
	<-begun
	client.(*net.TCPConn).SetLinger(0)
	client.Close() // a reset
	fmt.Println(errors.Is(<-ended, context.Canceled))
	// Output: true
}

// A response that is the same for all clients is in memory once.
func ExampleConn_WriteShared() {
	page := loop.NewShared([]byte("the page"))
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			_, err := c.WriteShared(page)
			return len(b), err
		})
	})
	defer end()
	fmt.Println(ask(addr, "x"))
	fmt.Println(ask(addr, "y"))
	// Output:
	// the page
	// the page
}

func ExampleResolve() {
	fmt.Println(loop.Resolve("tcp", "[::1]:80"))
	fmt.Println(loop.Resolve("udp4", ":53"))
	// Output:
	// [::1]:80 <nil>
	// 0.0.0.0:53 <nil>
}
