package loop_test

import (
	"testing"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// BenchmarkMove measures how long a connection takes to move from one loop to another.
func BenchmarkMove(b *testing.B) {
	g := group(b, loop.Config{Loops: 2})
	skipUnlessAttaches(b, g)
	own, _ := netPair(b, "tcp")
	ended := make(chan error, 1)
	left := b.N
	var move func(c *loop.Conn) loop.Handler
	move = func(c *loop.Conn) loop.Handler {
		if left--; left < 0 {
			ended <- nil
			return echo{}
		}
		to := g.Loops()[1-c.Loop().Index()]
		c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
			if err == nil {
				err = to.AttachStream(s, unread, move)
			}
			if err != nil {
				ended <- err
			}
		})
		return nil
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := g.Attach(own, nil, move); err != nil {
		b.Fatal(err)
	}
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
