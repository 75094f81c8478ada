package loop_test

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// The peer resets while data is being sent: Closed is called once, with the error.
func TestFaultResetInMidWrite(t *testing.T) {
	closed := make(chan error, 4)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)) },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	io.ReadFull(c, make([]byte, 1000))
	c.SetLinger(0)
	c.Close()
	why := receive(t, closed, "Closed")
	if !errors.Is(why, syscall.ECONNRESET) && !errors.Is(why, syscall.EPIPE) {
		t.Errorf("Closed got %v, want ECONNRESET or EPIPE", why)
	}
	select {
	case again := <-closed:
		t.Errorf("Closed was called again, with %v", again)
	case <-time.After(20 * time.Millisecond):
	}
}

// Half-close, in both directions.
func TestFaultHalfClose(t *testing.T) {
	ends := make(chan string, 4)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:       func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
			readClosed: func(c *loop.Conn) { ends <- "eof"; c.Write([]byte("last words")); c.CloseWrite() },
			closed:     func(_ *loop.Conn, why error) { ends <- "closed" },
		}
	})
	c.Write([]byte("ping "))
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if string(got) != "ping last words" || err != nil {
		t.Errorf("the peer read %q, %v, want ping last words", got, err)
	}
	if s := receive(t, ends, "ReadClosed"); s != "eof" {
		t.Errorf("the first callback is %q, want eof", s)
	}

	// The other direction: this side half-closes first, and goes on reading.
	datas := make(chan string, 4)
	_, d := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("bye")); c.CloseWrite() },
			data:   func(_ *loop.Conn, b []byte) (int, error) { datas <- string(b); return len(b), nil },
		}
	})
	if got, err := io.ReadAll(d); string(got) != "bye" || err != nil {
		t.Errorf("the peer read %q, %v, want bye", got, err)
	}
	d.Write([]byte("still here"))
	if s := receive(t, datas, "data after CloseWrite"); s != "still here" {
		t.Errorf("Data got %q, want still here", s)
	}
}

// A callback aborts its own connection and others that have events in the same batch.
func TestFaultCallbackAbortsOthersOfItsBatch(t *testing.T) {
	const n = 16
	var mu sync.Mutex
	var conns []*loop.Conn
	var datas atomic.Int32
	var closed sync.WaitGroup
	closed.Add(n)
	all := make(chan bool, n)
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) {
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
				all <- true
			},
			data: func(c *loop.Conn, b []byte) (int, error) {
				datas.Add(1)
				for _, other := range conns {
					other.Abort()
				}
				return len(b), nil
			},
			closed: func(*loop.Conn, error) { closed.Done() },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var clients []tcpConn
	for range n {
		clients = append(clients, dial(t, ln.Addr()))
	}
	for range n {
		receive(t, all, "Opened")
	}
	// All of them have data in one batch.
	block := make(chan bool)
	g.Loops()[0].Run(func() { <-block })
	for _, c := range clients {
		c.Write([]byte("x"))
	}
	close(block)
	closed.Wait()
	if d := datas.Load(); d < 1 {
		t.Error("Data was never called")
	}
	if g.Conns() != 0 {
		t.Errorf("%d connections are left, want 0", g.Conns())
	}
}

func (packetBatchEcho) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		ms[i].Data = ms[i].Data[:ms[i].N]
	}
	p.WriteBatch(ms)
	for i := range ms {
		ms[i].Data = ms[i].Data[:cap(ms[i].Data)]
	}
}
