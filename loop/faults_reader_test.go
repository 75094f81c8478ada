package loop_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// Fault 13: peers ask and ask and never read. The watermark stops reading from them, and
// so the producing of answers: the heap stays flat however long that lasts, others are
// served, and whoever reads in the end gets every answer.
func TestFaultReaderNeverDrains(t *testing.T) {
	const peers, high, questionBytes, answerBytes = 50, 64 << 10, 1 << 10, 3 << 10
	var asked atomic.Int64
	answer := make([]byte, answerBytes)
	g := group(t, loop.Config{Loops: 1, HighWatermark: high, LowWatermark: high / 4})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			// What there is no room to answer is left, and comes again after Drained.
			n := 0
			for len(b)-n >= questionBytes && c.Unsent() <= high {
				if _, err := c.Write(answer); err != nil {
					return n, err
				}
				n += questionBytes
				asked.Add(1)
			}
			return n, nil
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	healthy, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]int, peers)
	conns := make([]net.Conn, peers)
	for i := range conns {
		conns[i] = dial(t, ln.Addr())
	}
	ask := func(until time.Time) {
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() {
				questions := make([]byte, 4*questionBytes)
				c.SetWriteDeadline(until)
				for {
					n, err := c.Write(questions)
					if sent[i] += n; err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
	}

	// Until every buffer on the way is full.
	const round = 300 * time.Millisecond
	for end, n := time.Now().Add(patience), int64(-1); asked.Load() != n; {
		if time.Now().After(end) {
			t.Fatalf("%d answers in %v for peers that do not read, and it goes on", asked.Load(), patience)
		}
		n = asked.Load()
		ask(time.Now().Add(round))
	}
	before, answered := heapInUse(), asked.Load()
	if answered == 0 {
		t.Fatal("no question was answered")
	}
	ask(time.Now().Add(3 * round))
	ping(t, dial(t, healthy.Addr()))
	if n := asked.Load() - answered; n > peers*high/answerBytes {
		t.Errorf("%d more answers were made for peers that do not read", n)
	}
	if grown := heapInUse() - before; grown > 4<<20 && !raceEnabled {
		t.Errorf("the heap has grown by %d KiB while nobody read", grown>>10)
	}
	if s := g.Stats().Loops[0]; s.UnsentBytes > peers*(high+2*answerBytes) {
		t.Errorf("%d bytes wait, of %d peers, and the watermark is %d", s.UnsentBytes, peers, high)
	}

	for i, c := range conns[:5] {
		c.SetDeadline(time.Now().Add(patience))
		go func() {
			c.Write(make([]byte, questionBytes-sent[i]%questionBytes)) // the last may be half sent
			c.(*net.TCPConn).CloseWrite()
		}()
		want := int64(sent[i]/questionBytes+1) * answerBytes
		if n, err := io.Copy(io.Discard, c); n != want || err != nil {
			t.Errorf("peer %d: %d bytes of answers, want %d: %v", i, n, want, err)
		}
	}
	for _, c := range conns {
		c.(*net.TCPConn).SetLinger(0) // their answers are of no interest
		c.Close()
	}
}
