package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

const (
	total    = 40 << 20
	patience = 60 * time.Second
)

// dialProxy returns a connection through a proxy to a server that accepts one connection
// and calls serveConn.
func dialProxy(t *testing.T, serveConn func(c *net.TCPConn)) *net.TCPConn {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		if c, err := server.Accept(); err == nil {
			serveConn(c.(*net.TCPConn))
		}
	}()
	g, err := loop.NewGroup(loop.Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g.Shutdown(ctx)
	})
	ln, err := serve(g, "127.0.0.1:0", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// The client sends everything before it reads, while the server sends as much: the upload
// does not wait for the download.
func TestL4DirectionsAreIndependent(t *testing.T) {
	got := make(chan int64, 1)
	c := dialProxy(t, func(c *net.TCPConn) {
		go func() {
			n, _ := io.Copy(io.Discard, c)
			got <- n
		}()
		c.Write(make([]byte, total))
		c.CloseWrite()
	})
	if n, err := c.Write(make([]byte, total)); err != nil {
		t.Fatalf("%d of %d bytes were sent, then %v", n, total, err)
	}
	c.CloseWrite()
	select {
	case n := <-got:
		if n != total {
			t.Errorf("the server got %d bytes of %d", n, total)
		}
	case <-time.After(patience):
		t.Fatal("the server does not receive the upload")
	}
	if n, err := io.Copy(io.Discard, c); n != total || err != nil {
		t.Errorf("the client received %d bytes of %d: %v", n, total, err)
	}
}

// The answer of a server that answers early and closes is delivered.
func TestEarlyAnswer(t *testing.T) {
	c := dialProxy(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1000))
		c.Write([]byte("413"))
		c.Close()
	})
	go c.Write(make([]byte, total))
	b := make([]byte, 3)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "413" {
		t.Errorf("got %q, %v, want 413", b, err)
	}
}

// If no server listens, the client's connection is closed.
func TestNoServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	proxy, err := serve(g, "127.0.0.1:0", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // now, or the proxy could get its port
	c, err := net.Dial("tcp", proxy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %d, %v; want an error other than a timeout", n, err)
	}
}
