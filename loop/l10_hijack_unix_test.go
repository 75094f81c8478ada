//go:build unix

package loop_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L10: what a client sends right behind its Upgrade request reaches the handler of the hijacked
// connection whole, in order and once, wherever net/http has stopped reading.
func TestL10Hijack(t *testing.T) {
	skipOnSimulation(t, "net/http hands over a connection of package net")
	testkit.CheckLeaks(t)
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1, Logger: failOnLog(t)})
	got := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		unread, _ := rw.Reader.Peek(rw.Reader.Buffered())
		if err := g.Attach(conn, unread, func(*loop.Conn) loop.Handler { return &upgraded{got: got} }); err != nil {
			t.Errorf("Attach: %v", err)
			conn.Close()
		}
	}))
	defer server.Close()
	const request = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: numbers\r\n\r\n"
	for _, together := range []int{0, 1, 2, 100, 4095, 4096, 4097, 200_000} { // bytes sent in the call that sends the request
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		all := numbered(0, 250_000)
		go func() {
			c.Write(append([]byte(request), all[:together]...))
			c.Write(all[together:])
			c.(*net.TCPConn).CloseWrite()
		}()
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the response is %v, %v, want 101", response, err)
		}
		if b := receive(t, got, "the end of the stream"); !bytes.Equal(b, all) {
			t.Errorf("%d bytes with the request: received %d bytes, want the %d that were sent", together, len(b), len(all))
		}
		c.Close()
	}
}

// upgraded is a handler that collects what it receives.
type upgraded struct {
	all []byte
	got chan<- []byte
}

func (u *upgraded) Opened(c *loop.Conn) {
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: numbers\r\n\r\n")
}

func (u *upgraded) Data(_ *loop.Conn, b []byte) (int, error) {
	u.all = append(u.all, b...)
	return len(b), nil
}

func (u *upgraded) ReadClosed(c *loop.Conn) {
	u.got <- u.all
	c.Close()
}
