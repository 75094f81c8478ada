package netconn_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// Write waits while more than the high watermark is unsent, for as long as the peer reads nothing, and what it
// returns at the deadline is what the peer gets. Meanwhile the connection reads.
func TestWriteWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, swap := range []bool{false, true} { // both ends: accepted connections have back-pressure otherwise
			c, peer := pair(t, g, "tcp")
			if swap {
				c, peer = peer, c
			}
			total := fill(t, c)
			if _, err := peer.Write([]byte("castor")); err != nil {
				t.Fatal(err)
			}
			discard(t, c, 6)
			c.SetWriteDeadline(time.Time{})
			waiting := start(func() (int, error) { return c.Write(make([]byte, 1<<20)) })
			discard(t, peer, total+1<<20)
			if r := <-waiting; r.n != 1<<20 || r.err != nil {
				t.Errorf("%d, %v", r.n, r.err)
			}
			peer.SetReadDeadline(time.Unix(1, 0))
			peer.SetReadDeadline(time.Time{})
			c.Close()
			if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v after the last byte, want io.EOF", n, err)
			}
		}
	})
}

// A connection that nobody reads keeps a bounded number of bytes.
func TestUnreadIsBounded(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		total := fill(t, c)
		time.Sleep(time.Second)
		unread, most := netconn.Unread(peer), netconn.MaxUnreadBytes+g.Config().TurnBudgetBytes
		if unread < netconn.MaxUnreadBytes || unread > most {
			t.Errorf("%d bytes are unread, want %d to %d", unread, netconn.MaxUnreadBytes, most)
		}
		discard(t, peer, total)
		if n := netconn.Unread(peer); n != 0 {
			t.Errorf("%d bytes are unread, want 0", n)
		}
	})
}

// Calls of many goroutines at a time get each byte once, in order.
func TestConcurrentReadersAndWriters(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		const writers, readers, writes, size = 4, 4, 50, 1000
		c, peer := pair(t, g, "tcp")
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for range writes {
					if n, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); n != size || err != nil {
						t.Errorf("%d, %v", n, err)
					}
				}
			})
		}
		var mu sync.Mutex
		var counts [writers]int
		var rg sync.WaitGroup
		for range readers {
			rg.Go(func() {
				b := make([]byte, 777)
				for {
					n, err := peer.Read(b)
					mu.Lock()
					for _, x := range b[:n] {
						counts[x]++
					}
					mu.Unlock()
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
		c.CloseWrite()
		rg.Wait()
		for i, n := range counts {
			if n != writes*size {
				t.Errorf("writer %d: %d bytes arrived, want %d", i, n, writes*size)
			}
		}
	})
}

// io.Copy passes on all bytes, in both directions, and the end of the stream.
func TestCopy(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		checkCopy(t, c, peer, 3<<20+7)
	})
}

// checkCopy fails the test unless n bytes come back that peer echoes by io.Copy, and then the end of the stream.
func checkCopy(t *testing.T, c, peer halfCloser, n int) {
	t.Helper()
	all := make([]byte, n)
	rand.NewChaCha8([32]byte{3}).Read(all)
	echo := start(func() (int, error) {
		n, err := io.Copy(peer, peer) // WriteTo
		peer.CloseWrite()
		return int(n), err
	})
	sent := start(func() (int, error) {
		n, err := io.Copy(c, struct{ io.Reader }{bytes.NewReader(all)}) // ReadFrom
		c.CloseWrite()
		return int(n), err
	})
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, all) {
		t.Errorf("%d bytes came back, %v, want the %d that were sent", len(got), err, len(all))
	}
	for _, r := range []<-chan result{echo, sent} {
		if r := <-r; r.n != len(all) || r.err != nil {
			t.Errorf("%d, %v", r.n, r.err)
		}
	}
}

// A halfCloser is a *netconn.Conn or a *netconn.TLSConn.
type halfCloser interface {
	net.Conn
	io.WriterTo
	io.ReaderFrom
	CloseWrite() error
}

// Read and Write allocate nothing, whether Read waits or the bytes come first.
func TestAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		go io.Copy(peer, struct{ io.Reader }{peer})
		b := make([]byte, 64)
		if n := testing.AllocsPerRun(500, func() {
			c.Write(b)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
		}); n >= 1 {
			t.Errorf("%v allocations for a message and its echo", n)
		}
	})
}
