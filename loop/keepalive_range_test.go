package loop_test

import (
	"context"
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// Times and counts out of the system's range are an error, also if they overflow.
func TestKeepAliveOutOfRange(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the ranges are Linux's")
	}
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	const wraps = (1<<32 + 60) * int64(time.Second)
	for _, k := range []net.KeepAliveConfig{
		{Idle: 32768 * time.Second},
		{Idle: math.MaxInt64},
		{Idle: time.Duration(wraps)},
		{Interval: math.MaxInt64},
		{Interval: time.Duration(wraps)},
		{Count: 128},
		{Count: math.MaxInt},
	} {
		k.Enable = true
		if c.SetKeepAlive(k) == nil {
			t.Errorf("SetKeepAlive(%+v) succeeded, want an error", k)
		}
	}
}
