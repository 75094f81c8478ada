package main

import (
	"context"
	"errors"
	"fmt"
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

// stream is a reader of total bytes, each of which depends on its position and on salt.
type stream struct {
	at   int
	salt byte
}

func (s *stream) Read(b []byte) (int, error) {
	n := min(len(b), total-s.at)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range b[:n] {
		b[i] = s.byte(s.at + i)
	}
	s.at += n
	return n, nil
}

func (s *stream) byte(at int) byte { return byte(at) ^ byte(at>>8)*31 ^ byte(at>>16)*7 ^ s.salt }

// checkStream reads r to its end, with a pause after each MiB if it is slow, and compares it with
// the stream of salt.
func checkStream(r io.Reader, salt byte, slow bool) error {
	want, b := &stream{salt: salt}, make([]byte, 64<<10)
	for {
		n, err := r.Read(b)
		for i, got := range b[:n] {
			if at := want.at + i; got != want.byte(at) {
				return fmt.Errorf("byte %d is %#x, want %#x", at, got, want.byte(at))
			}
		}
		if slow && want.at>>20 != (want.at+n)>>20 {
			time.Sleep(5 * time.Millisecond) // the pace of the reader
		}
		want.at += n
		if err == io.EOF && want.at == total {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", want.at, total, err)
		}
	}
}

func sendStream(c *net.TCPConn, salt byte) error {
	_, err := io.Copy(struct{ io.Writer }{c}, &stream{salt: salt})
	return errors.Join(err, c.CloseWrite())
}

// Both sides send 40 MiB. Each direction arrives byte by byte, also if the client sends everything
// before it reads, or if one side reads slowly.
func TestL4DirectionsAreIndependent(t *testing.T) {
	for name, x := range map[string]struct{ sendsFirst, slowClient, slowServer bool }{
		"the client sends first": {sendsFirst: true},
		"a slow client":          {slowClient: true},
		"a slow server":          {slowServer: true},
	} {
		t.Run(name, func(t *testing.T) {
			sent, got := make(chan error, 1), make(chan error, 1)
			c := dialProxy(t, func(c *net.TCPConn) {
				go func() { got <- checkStream(c, 'c', x.slowServer) }()
				sent <- sendStream(c, 's')
			})
			upload := make(chan error, 1)
			go func() { upload <- sendStream(c, 'c') }()
			if x.sendsFirst {
				if err := <-upload; err != nil {
					t.Fatalf("sending: %v", err)
				}
				if err := <-got; err != nil {
					t.Fatalf("the server: %v", err)
				}
				upload <- nil
				got <- nil
			}
			if err := checkStream(c, 's', x.slowClient); err != nil {
				t.Errorf("the client: %v", err)
			}
			for what, ended := range map[string]chan error{"sending": upload, "the server's sending": sent, "the server": got} {
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
				case <-time.After(patience):
					t.Fatalf("%s does not end", what)
				}
			}
		})
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
