package loop_test

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// A pausingPipe passes received bytes to a goroutine that blocks: Data pauses the connection when limit
// bytes are buffered, and the goroutine resumes it. Both do so with mu held.
type pausingPipe struct {
	t      *testing.T
	limit  int
	leaves bool // Data leaves what exceeds the limit
	ended  chan error

	mu     sync.Mutex
	more   sync.Cond
	buf    []byte
	paused bool
	eof    bool
	pauses int
}

func newPausingPipe(t *testing.T, limit int, leaves bool) *pausingPipe {
	p := &pausingPipe{t: t, limit: limit, leaves: leaves, ended: make(chan error, 1)}
	p.more.L = &p.mu
	return p
}

func (p *pausingPipe) Data(c *loop.Conn, b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		p.t.Error("Data was called between Pause and Resume")
	}
	if p.leaves {
		b = b[:min(len(b), p.limit-len(p.buf))]
	}
	p.buf = append(p.buf, b...)
	if len(p.buf) >= p.limit {
		p.paused = true
		p.pauses++
		c.Pause()
	}
	p.more.Signal()
	return len(b), nil
}

func (p *pausingPipe) ReadClosed(c *loop.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eof = true
	p.more.Signal()
	c.Close()
}

func (p *pausingPipe) Closed(_ *loop.Conn, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eof = true
	p.more.Signal()
	p.ended <- why
}

// read takes up to len(b) bytes, and returns 0 at the end of the stream.
func (p *pausingPipe) read(c *loop.Conn, b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 && !p.eof {
		p.more.Wait()
	}
	n := copy(b, p.buf)
	p.buf = p.buf[:copy(p.buf, p.buf[n:])]
	if p.paused && len(p.buf) <= p.limit/2 {
		p.paused = false
		c.Resume()
	}
	return n
}

// toggle pauses and resumes the connection from another goroutine than the loop's and the reader's.
func (p *pausingPipe) toggle(c *loop.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.paused {
		c.Pause()
		c.Resume()
	}
}

// L3, L4: whoever pauses and resumes a connection, and however often, while data flows, it receives
// everything in order, and Data is not called between Pause and Resume.
func TestL4PauseStress(t *testing.T) {
	testkit.CheckLeaks(t)
	const each = 1 << 20 // bytes
	text := make([]byte, each)
	rand.NewChaCha8([32]byte{4}).Read(text)
	pipes := make(chan *pausingPipe, 1)
	conns := make(chan *loop.Conn, 1)
	g := group(t, loop.Config{Loops: 2, Logger: quiet(), TurnBudgetBytes: 64 << 10})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		conns <- c
		return <-pipes
	})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i, limit := range []int{1, 500, 4 << 10, 16 << 10, 64 << 10, 128 << 10} {
		for _, leaves := range []bool{false, true} {
			length := each
			if limit < 1000 {
				length = 2000 * limit // a pause each few bytes
			}
			p := newPausingPipe(t, limit, leaves)
			pipes <- p
			peer := dial(t, ln.Addr())
			c := receive(t, conns, "accept")
			seed := uint64(2 * i)
			if leaves {
				seed++
			}
			all.Go(func() { sendInParts(t, peer, text[:length], rand.New(rand.NewPCG(4, seed))) })
			all.Go(func() { p.readAll(c, text[:length], rand.New(rand.NewPCG(5, seed))) })
		}
	}
	done := make(chan int, 1)
	go func() {
		all.Wait()
		done <- 0
	}()
	receive(t, done, "the end of all streams")
}

// sendInParts sends b, and then FIN.
func sendInParts(t *testing.T, peer tcpConn, b []byte, r *rand.Rand) {
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN([]int{100, 5000, 100_000}[r.IntN(3)]))
		if _, err := peer.Write(b[:n]); err != nil {
			t.Errorf("the peer's write: %v", err)
			break
		}
		b = b[n:]
	}
	peer.CloseWrite()
	if n, err := io.Copy(io.Discard, peer); n != 0 || err != nil {
		t.Errorf("the peer got %d bytes, %v, want FIN", n, err)
	}
}

// readAll reads the whole stream, and compares it with want.
func (p *pausingPipe) readAll(c *loop.Conn, want []byte, r *rand.Rand) {
	b := make([]byte, 40<<10)
	got := 0
	for {
		for range r.IntN(8) {
			p.toggle(c)
		}
		n := p.read(c, b[:1+r.IntN(len(b))])
		if n == 0 {
			break
		}
		if got+n > len(want) || string(b[:n]) != string(want[got:got+n]) {
			p.t.Errorf("limit %d: %d bytes at offset %d differ from those sent", p.limit, n, got)
			c.Abort()
			return
		}
		got += n
	}
	if why := receive(p.t, p.ended, "Closed"); got != len(want) || why != nil && why != io.EOF {
		p.t.Errorf("limit %d: received %d bytes of %d; Closed got %v", p.limit, got, len(want), why)
	}
	if p.pauses == 0 && p.limit == 1 { // with others, the reader may keep pace
		p.t.Error("Data never paused")
	}
}
