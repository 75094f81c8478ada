package loop_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

func group(t testing.TB, c loop.Config) *loop.Group {
	t.Helper()
	g, err := loop.NewGroup(c)
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
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			want := bytes.Repeat([]byte{byte(i)}, 100_000+i)
			go func() {
				c.Write(want)
				c.(*net.TCPConn).CloseWrite()
			}()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes came back of %d: %v", len(got), len(want), err)
			}
		})
	}
	wg.Wait()
}
