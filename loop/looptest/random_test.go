package looptest_test

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// offloadedEcho is echo by way of other goroutines, several of which return at the same time.
func offloadedEcho(c *loop.Conn, b []byte) (int, error) {
	c.Pause()
	b = append([]byte(nil), b...)
	return len(b), loop.Offload(c, func() (bool, error) {
		if len(b)%2 == 0 {
			time.Sleep(time.Millisecond)
		}
		return true, nil
	}, func(bool, error) {
		c.Write(b)
		c.Resume()
	})
}

// busyNetwork runs clients and an echo server on a bad network, and returns the trace. It must be called
// in a bubble.
func busyNetwork(t *testing.T, seed uint64) (trace string) {
	n := looptest.New(t, looptest.Config{
		Seed: seed, TraceEvents: 100_000, Adversity: looptest.Adverse(),
		Link:   looptest.Link{Latency: time.Millisecond, Jitter: time.Millisecond, Loss: 0.05, RandomSegments: true},
		Faults: looptest.Faults{PartialReads: 0.3, PartialWrites: 0.3, WouldBlock: 0.2},
	})
	server := n.Host()
	g := server.NewGroup(loop.Config{Loops: 3})
	at := netip.AddrPortFrom(server.Addr(), 80).String()
	if _, err := g.Listen("tcp", at, func(*loop.Conn) loop.Handler { return funcs{data: offloadedEcho} }); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for i := range 5 {
		client := n.Host()
		clients.Go(func() {
			c, err := client.Dial("tcp", at)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 5 {
				b := make([]byte, 1+r.IntN(10_000))
				for k := range b {
					b[k] = byte(r.Uint32())
				}
				got := make([]byte, len(b))
				if _, err := c.Write(b); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(c, got); err != nil || string(got) != string(b) {
					t.Errorf("client %d: the echo of %d bytes is wrong: %v", i, len(b), err)
				}
			}
		})
	}
	clients.Wait()
	return n.Trace()
}
