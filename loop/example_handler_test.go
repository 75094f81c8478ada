package loop_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/pollux-io/pollux/loop"
)

// player is the state of a connection; its first message is its name.
type player struct{ name string }

func (m *player) Data(c *loop.Conn, b []byte) (int, error) {
	m.name = string(b)
	io.WriteString(c, "welcome")
	return len(b), nil
}

// Handler leads from a connection to the state of its protocol. Like the handler's callbacks, what
// accesses that state must run on the connection's loop.
func ExampleConn_Handler() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	conns := make(chan *loop.Conn, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		conns <- c
		return &player{}
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "Helena")
	io.ReadFull(client, make([]byte, len("welcome")))

	c, done := <-conns, make(chan bool)
	c.Loop().Run(func() {
		fmt.Println(c.Handler().(*player).name)
		close(done)
	})
	<-done
	// Output: Helena
}
