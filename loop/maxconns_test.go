package loop_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// Above MaxConns a connection waits, also if a dial has taken the last slot.
func TestL7MaxConnsByDial(t *testing.T) {
	ln, d := fillMaxConnsByDial(t)
	c := dial(t, ln.Addr())
	checkNotServed(t, c)
	d.Abort()
	checkServed(t, c)
}

// fillMaxConnsByDial returns a listener of a group with MaxConns 1, and the dialed connection that
// takes the only slot.
func fillMaxConnsByDial(t *testing.T) (*loop.Listener, *loop.Conn) {
	t.Helper()
	g := group(t, loop.Config{Loops: 1, MaxConns: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	d, err := g.Dial(context.Background(), "tcp", startEchoServer(t), func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	return ln, d
}

// checkNotServed sends a byte and checks that it is not answered, but the connection stays open.
func checkNotServed(t *testing.T, c net.Conn) {
	t.Helper()
	c.Write([]byte("1"))
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Errorf("a connection above MaxConns read %d bytes, %v, want a timeout", n, err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// checkServed reads the answer to the byte that checkNotServed has sent.
func checkServed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("a connection is not served below MaxConns: %v", err)
	}
}

// With several loops, no connection is reset, and each is served in its turn, however many loops
// resume accepting when a slot is released.
func TestL7MaxConnsOfSeveralLoops(t *testing.T) {
	g := group(t, loop.Config{Loops: 4, MaxConns: 3, Logger: quiet()})
	var addrs []net.Addr
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(os.TempDir(), fmt.Sprintf("pollux%d", os.Getpid())) // t.TempDir may be too long
		}
		ln, err := g.Listen(network, address, func(*loop.Conn) loop.Handler { return echo{} })
		if err != nil && network == "unix" && runtime.GOOS == "windows" {
			t.Logf("skipped for %s, which Wine and some versions of Windows lack: %v", network, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, ln.Addr())
	}
	for _, addr := range addrs {
		t.Run(addr.Network(), func(t *testing.T) {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					for range 10 {
						c, err := dialNet(t, addr.Network(), addr.String())
						if err != nil {
							t.Error(err)
							return
						}
						c.SetDeadline(time.Now().Add(testTimeout))
						if _, err := c.Write([]byte("x")); err != nil {
							t.Error("writing: ", err)
						}
						if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
							t.Error("a connection above MaxConns was not served later: ", err)
						}
						c.Close()
					}
				})
			}
			all.Wait()
		})
	}
	if n := refusals(g); n != 0 {
		t.Errorf("%d connections were refused, want 0", n)
	}
}

func refusals(g *loop.Group) (n uint64) {
	for _, l := range g.Stats().Loops {
		n += l.Refused
	}
	return n
}

// A connection that waits for a slot is closed when its listener is closed, or the group ends.
func TestL7MaxConnsAndTheEnd(t *testing.T) {
	ln, d := fillMaxConnsByDial(t)
	defer d.Abort()
	c := dial(t, ln.Addr())
	checkNotServed(t, c)
	ln.Close()
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a waiting connection of a closed listener: got %v, want it closed", err)
	}
}
