package simnet

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// Outside a bubble, calls of many goroutines run at the same time. Whatever they are, each of them ends,
// and so do the goroutines of the network.
func TestConcurrentCalls(t *testing.T) {
	testkit.CheckLeaks(t)
	for seed := range uint64(8) {
		n := New(Config{Seed: seed, Link: Link{Latency: 10 * time.Microsecond, Loss: 0.01, Jitter: 50 * time.Microsecond}})
		a, b := n.Host(), n.Host()
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					c.Read(make([]byte, 1)) // a reset that comes before Dial has returned would be its error
					randomUse(c.(*Conn), rand.New(rand.NewPCG(seed, 1)))
				})
			}
		})
		var clients sync.WaitGroup
		for i := range uint64(10) {
			clients.Go(func() {
				c, err := a.Dial(t.Context(), "tcp", "10.0.0.2:80")
				if err != nil {
					t.Error(err)
					return
				}
				c.Write([]byte{0})
				randomUse(c, rand.New(rand.NewPCG(seed, i)))
			})
		}
		clients.Wait()
		if seed%2 == 0 {
			n.Close()
		}
		l.Close()
		wg.Wait()
		n.Close()
		if k := a.Descriptors() + b.Descriptors(); k != 0 {
			t.Fatalf("seed %d: %d descriptors are open", seed, k)
		}
	}
}

// randomUse makes random calls on c, several at a time, and closes it.
func randomUse(c *Conn, r *rand.Rand) {
	buf := make([]byte, 50_000)
	calls := []func(k int){
		func(k int) { c.Read(buf[:k]) },
		func(k int) { c.Write(buf[:k]) },
		func(k int) { c.SetDeadline(time.Now().Add(time.Duration(k) * time.Nanosecond)) },
		func(k int) { c.SetLinger(k % 3) },
		func(k int) { c.SetReadBuffer(k) },
		func(k int) {
			raw, _ := c.SyscallConn()
			raw.Control(func(uintptr) {})
		},
		func(k int) {
			if k%10 == 0 {
				c.CloseWrite()
			}
		},
	}
	var wg sync.WaitGroup
	for _, f := range calls {
		k := 1 + r.IntN(len(buf)-1)
		wg.Go(func() {
			for range 20 {
				f(k)
			}
		})
	}
	time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
	c.Close()
	wg.Wait()
}
