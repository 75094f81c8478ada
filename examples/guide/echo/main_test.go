package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

func TestEcho(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	sent := strings.Repeat("hello ", 100_000)
	go func() {
		io.WriteString(c, sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); string(got) != sent || err != nil {
		t.Errorf("received %d bytes of %d, %v", len(got), len(sent), err)
	}
}

// The README has this test.
func TestPipe(t *testing.T) {
	peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler { return echo{} })
	io.WriteString(peer, "hello")
	peer.CloseWrite()
	if got, err := io.ReadAll(peer); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
