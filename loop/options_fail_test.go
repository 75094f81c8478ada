package loop_test

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Every call that makes or takes sockets, with an option that fails at the n-th call of Control: the
// error is Control's, no socket and no path is left, and the address is free again.
func TestOptionFailsHalfway(t *testing.T) {
	boom := errors.New("boom")
	g := group(t, loop.Config{Loops: 3})
	echoServer := startEchoServer(t)
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	packets := func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} }
	path := filepath.Join(testkit.TempDir(t), "s")
	calls := map[string]func(o ...sock.Option) (end func(), err error){
		"Listen": func(o ...sock.Option) (func(), error) {
			ln, err := g.Listen("tcp", "127.0.0.1:0", accept, o...)
			return func() { ln.Close() }, err
		},
		"Listen on all addresses": func(o ...sock.Option) (func(), error) {
			ln, err := g.Listen("tcp", ":0", accept, o...)
			return func() { ln.Close() }, err
		},
		"Listen unix": func(o ...sock.Option) (func(), error) {
			ln, err := g.Listen("unix", path, accept, o...)
			return func() { ln.Close() }, err
		},
		"ListenPacket": func(o ...sock.Option) (func(), error) {
			pl, err := g.ListenPacket("udp", "127.0.0.1:0", packets, o...)
			return func() { pl.Close() }, err
		},
		"ListenPacket on all addresses": func(o ...sock.Option) (func(), error) {
			pl, err := g.ListenPacket("udp", ":0", packets, o...)
			return func() { pl.Close() }, err
		},
		"Dial": func(o ...sock.Option) (func(), error) {
			c, err := g.Dial(context.Background(), "tcp", echoServer, accept, o...)
			return func() { c.Abort() }, err
		},
		"Loop.Dial": func(o ...sock.Option) (func(), error) {
			done := make(chan *loop.Conn, 1)
			err := g.Loops()[0].Dial(context.Background(), "tcp", echoServer, accept, func(c *loop.Conn, _ error) { done <- c }, o...)
			return func() { receive(t, done, "the connection").Abort() }, err
		},
	}
	if runtime.GOOS == "windows" {
		delete(calls, "Listen unix") // Wine and some versions lack them
	}
	for what, call := range calls {
		t.Run(what, func(t *testing.T) {
			testkit.CheckLeaks(t)
			for failAt := 1; ; failAt++ {
				n := 0
				end, err := call(sock.Control(func(uintptr) error {
					if n++; n == failAt {
						return boom
					}
					return nil
				}))
				if n < failAt { // as many sockets as there are
					if err != nil {
						t.Fatalf("without a failure: %v", err)
					}
					end()
					if n < 1 || n > len(g.Loops()) {
						t.Errorf("Control was called %d times, want once for each socket", n)
					}
					return
				}
				var op *net.OpError
				if !errors.Is(err, boom) || !errors.As(err, &op) {
					t.Errorf("call %d of Control fails: got %v, want a *net.OpError with its error", failAt, err)
				}
				if n != failAt {
					t.Errorf("Control was called %d times after its failure", n-failAt)
				}
				if !testkit.Eventually(func() bool { return g.Conns() == 0 }) || g.Listeners() != 0 {
					t.Errorf("call %d of Control fails: %d connections and %d listeners are left", failAt, g.Conns(), g.Listeners())
				}
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("call %d of Control fails: the path of the Unix socket is left", failAt)
				}
			}
		})
	}
}

// The largest buffer is accepted, or refused with an error that names the option: never a socket that is
// left. Larger sizes are ErrBadArgument.
func TestHugeBuffers(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	echoServer := startEchoServer(t)
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	testkit.CheckLeaks(t)
	for name, o := range map[string]func(int) sock.Option{"ReadBuffer": sock.ReadBuffer, "WriteBuffer": sock.WriteBuffer} {
		for _, size := range []int{math.MaxInt32, math.MaxInt32 - 1, math.MaxInt32/2 + 1} {
			ln, err := g.Listen("tcp", "127.0.0.1:0", accept, o(size))
			if err == nil {
				c := dial(t, ln.Addr())
				ping(t, c)
				c.Close()
				ln.Close()
			} else if !strings.Contains(err.Error(), "buffer") {
				t.Errorf("Listen with %s(%d): %v does not name the option", name, size, err)
			}
			if c, err := g.Dial(context.Background(), "tcp", echoServer, accept, o(size)); err == nil {
				c.Abort()
			} else if !strings.Contains(err.Error(), "buffer") {
				t.Errorf("Dial with %s(%d): %v does not name the option", name, size, err)
			}
			pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} }, o(size))
			if err == nil {
				pl.Close()
			} else if !strings.Contains(err.Error(), "buffer") {
				t.Errorf("ListenPacket with %s(%d): %v does not name the option", name, size, err)
			}
		}
		if math.MaxInt > math.MaxInt32 {
			size := math.MaxInt32
			size++
			if _, err := g.Listen("tcp", "127.0.0.1:0", accept, o(size)); !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), name) {
				t.Errorf("Listen with %s(%d): %v, want ErrBadArgument that names it", name, size, err)
			}
		}
	}
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) || g.Listeners() != 0 {
		t.Errorf("%d connections and %d listeners are left", g.Conns(), g.Listeners())
	}
}
