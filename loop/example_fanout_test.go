package loop_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"sync"

	"github.com/pollux-io/pollux/loop"
)

// subscriber connects, and returns the connection when the server has greeted it with a line.
func subscriber(addr net.Addr) (net.Conn, *bufio.Reader) {
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		log.Fatal(err)
	}
	in := bufio.NewReader(c)
	if _, err := in.ReadString('\n'); err != nil {
		log.Fatal(err)
	}
	return c, in
}

// Every connection is a member from its first callback on, and leaves by itself when it ends.
func ExampleFanout() {
	topic := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 1 << 20})
	addr, end := exampleServer(loop.Config{Loops: 2}, func(c *loop.Conn) loop.Handler {
		if err := topic.Add(c); err != nil {
			log.Print(err)
		}
		c.Write([]byte("welcome\n"))
		return handlerFunc(func(_ *loop.Conn, b []byte) (int, error) { return len(b), nil })
	})
	defer end()
	a, fromA := subscriber(addr)
	defer a.Close()
	b, fromB := subscriber(addr)
	defer b.Close()

	topic.Send(loop.NewShared([]byte("encoded once\n")))
	for _, in := range []*bufio.Reader{fromA, fromB} {
		line, err := in.ReadString('\n')
		fmt.Printf("%q %v\n", line, err)
	}
	fmt.Println(topic.Len(), "members")
	// Output:
	// "encoded once\n" <nil>
	// "encoded once\n" <nil>
	// 2 members
}

// A slow subscriber of a price, of which only the last one matters, misses some.
func ExampleFanoutConfig() {
	prices := loop.NewFanout(loop.FanoutConfig{
		MaxUnsentBytes: 4 << 10,
		Slow: func(c *loop.Conn, s *loop.Shared) {
			log.Printf("%v misses a price", c.RemoteAddr())
		},
	})
	fmt.Println(prices.Send(loop.NewShared([]byte("42"))), prices.Stats().Skipped)
	// Output: <nil> 0
}

// The memory of a message goes back to a pool when every connection has sent it.
func ExampleNewSharedFunc() {
	pool := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	free := make(chan struct{})
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			buf := pool.Get().(*bytes.Buffer)
			fmt.Fprintf(buf, "hello, %s", b)
			s := loop.NewSharedFunc(buf.Bytes(), func() {
				buf.Reset()
				pool.Put(buf)
				close(free)
			})
			defer s.Release()
			_, err := c.WriteShared(s) // and to others
			return len(b), err
		})
	})
	defer end()
	fmt.Println(ask(addr, "gopher"))
	<-free
	// Output: hello, gopher
}

// A notice goes to every connection of the group.
func ExampleGroup_Each() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		c.Write([]byte("welcome\n"))
		return handlerFunc(func(_ *loop.Conn, b []byte) (int, error) { return len(b), nil })
	})
	if err != nil {
		log.Fatal(err)
	}
	c, in := subscriber(ln.Addr())
	defer c.Close()
	if err := g.Each(func(c *loop.Conn) { c.Write([]byte("maintenance at noon\n")) }); err != nil {
		log.Fatal(err)
	}
	line, err := in.ReadString('\n')
	fmt.Printf("%q %v\n", line, err)
	c.Close()
	g.Shutdown(context.Background())
	// Output: "maintenance at noon\n" <nil>
}
