package serve

import (
	"context"
	"net"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// While a loop is blocked by a callback, its counters keep their last values.
func TestSamplerOfBlockedLoop(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{Loops: 1, SlowCallback: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	defer g.Shutdown(ctx)
	accepted := make(chan bool, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { accepted <- true; return discard{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-accepted
	var s sampler
	before := s.stats(g).Loops[0]
	blocked, release := make(chan bool), make(chan bool)
	g.Loops()[0].Run(func() { blocked <- true; <-release })
	<-blocked
	defer close(release)
	during := s.stats(g).Loops[0]
	if before.Accepts != 1 || during.Accepts != 1 || during.Turns < before.Turns {
		t.Errorf("%d accepted and %d turns, then %d and %d while the loop is blocked", before.Accepts, before.Turns, during.Accepts, during.Turns)
	}
}
