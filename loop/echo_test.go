package loop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

func group(t testing.TB, c loop.Config) *loop.Group {
	t.Helper()
	g, err := newGroup(t, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.Shutdown(ctx)
	})
	return g
}

func TestEcho(t *testing.T) {
	g := group(t, loop.Config{})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c, err := dialNet(t, "tcp", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			want := bytes.Repeat([]byte{byte(i)}, 100_000+i)
			go func() {
				c.Write(want)
				c.(tcpConn).CloseWrite()
			}()
			c.SetDeadline(time.Now().Add(testTimeout))
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("echo: got %d bytes, %v, want %d equal bytes", len(got), err, len(want))
			}
		})
	}
	wg.Wait()
}

func TestUnixEcho(t *testing.T) {
	testkit.SkipOnWine(t, "it has no Unix sockets")
	g := group(t, loop.Config{})
	path := filepath.Join(t.TempDir(), "s")
	if _, err := g.Listen("unix", path, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skipf("no Unix sockets here: %v", err)
		}
		t.Fatal(err)
	}
	got := make(chan string, len("hello"))
	c, err := g.Dial(context.Background(), "unix", path, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil }}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	if s := receiveAll(t, got, len("hello"), "the echo"); s != "hello" {
		t.Errorf("echo = %q, want hello", s)
	}
}

func TestEchoAllocatesNothing(t *testing.T) {
	skipWithLayer(t, "the layer of the tests allocates")
	skipOnSimulation(t, "it allocates for what is on its way")
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	_ = g
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(500, func() {
		c.Write(b)
		io.ReadFull(c, b)
	}); n != 0 && !testkit.Race {
		t.Errorf("%v allocations per message, want 0", n)
	}
}
