package loop_test

import (
	"context"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// BenchmarkDial dials, accepts and aborts connections, both ends on one loop, 64 at a time.
func BenchmarkDial(b *testing.B) {
	g := group(b, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		b.Fatal(err)
	}
	addr := ln.Addr().String()
	l := g.Loops()[0]
	accept := func(*loop.Conn) loop.Handler { return echo{} }
	left, inFlight := b.N, 0
	ended := make(chan error, 1)
	var dial func()
	done := func(c *loop.Conn, err error) {
		inFlight--
		if err != nil {
			select {
			case ended <- err:
			default:
			}
			left = 0
			return
		}
		c.Abort()
		if left > 0 {
			dial()
		} else if inFlight == 0 {
			ended <- nil
		}
	}
	dial = func() {
		left--
		inFlight++
		if err := l.Dial(context.Background(), "tcp", addr, accept, done); err != nil {
			done(nil, err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	l.Run(func() {
		for range min(64, b.N) {
			dial()
		}
	})
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
