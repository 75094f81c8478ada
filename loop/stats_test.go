package loop_test

import (
	"context"
	"net"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// Stats still knows what was done when the loops have ended.
func TestStatsAfterShutdown(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	answers(t, c, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	s := g.Stats()
	if in, out := s.Loops[0].BytesIn+s.Loops[1].BytesIn, s.Loops[0].BytesOut+s.Loops[1].BytesOut; in != 5 || out != 5 {
		t.Errorf("%d bytes in, %d out", in, out)
	}
}
