//go:build unix

package loop_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// shouter answers each line in capitals.
type shouter struct{}

func (shouter) Opened(c *loop.Conn) {
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
}

func (shouter) Data(c *loop.Conn, b []byte) (int, error) {
	n := bytes.LastIndexByte(b, '\n') + 1
	c.Write(bytes.ToUpper(b[:n]))
	return n, nil // an incomplete line is delivered again
}

// A server of net/http answers requests, and connections that change the protocol continue on a
// loop, where an idle one has no goroutine. What the client has sent behind its request is in
// the server's buffer, and Attach delivers it first.
func ExampleGroup_Attach() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			log.Print(err)
			return
		}
		unread, _ := rw.Reader.Peek(rw.Reader.Buffered())
		if err := g.Attach(conn, unread, func(*loop.Conn) loop.Handler { return shouter{} }); err != nil {
			log.Print(err)
			conn.Close() // it still belongs to this function
		}
	}))
	defer server.Close()

	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello\nwor")
	io.WriteString(client, "ld\n")
	r := bufio.NewReader(client)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status)
	for range 2 {
		line, err := r.ReadString('\n')
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(line)
	}
	// Output:
	// 101 Switching Protocols
	// HELLO
	// WORLD
}

// asker asks for a name on one loop, and has the answer given on another one.
type asker struct{ to *loop.Loop }

func (h asker) Data(c *loop.Conn, b []byte) (int, error) {
	return 0, c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
		if err == nil {
			err = h.to.AttachStream(s, unread, func(*loop.Conn) loop.Handler { return namer{} })
		}
		if err != nil {
			log.Print(err)
			if s != nil {
				s.Close()
			}
		}
	})
}

type namer struct{}

func (namer) Data(c *loop.Conn, b []byte) (int, error) {
	fmt.Fprintf(c, "hello %s from loop %d", b, c.Loop().Index())
	return len(b), c.Close()
}

// A connection moves from one loop to another, with the bytes that its handler has not consumed.
func ExampleLoop_AttachStream() {
	g, err := loop.NewGroup(loop.Config{Loops: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	to := g.Loops()[1]
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return asker{to} })
	if err != nil {
		log.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "Leda")
	answer, err := io.ReadAll(c)
	fmt.Println(string(answer), err)
	// Output: hello Leda from loop 1 <nil>
}
