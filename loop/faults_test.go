package loop_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// The peer resets in mid-write: one error, one Closed.
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
		t.Errorf("the reason is %v", why)
	}
	select {
	case again := <-closed:
		t.Errorf("Closed came again: %v", again)
	case <-time.After(20 * time.Millisecond):
	}
}

// Half-close, both ways.
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
		t.Errorf("%q, %v", got, err)
	}
	if s := receive(t, ends, "ReadClosed"); s != "eof" {
		t.Errorf("first %q", s)
	}

	// The other way: this side ends first, and goes on reading.
	datas := make(chan string, 4)
	_, d := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write([]byte("bye")); c.CloseWrite() },
			data:   func(_ *loop.Conn, b []byte) (int, error) { datas <- string(b); return len(b), nil },
		}
	})
	if got, err := io.ReadAll(d); string(got) != "bye" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	d.Write([]byte("still here"))
	if s := receive(t, datas, "data after CloseWrite"); s != "still here" {
		t.Errorf("%q", s)
	}
}

// A callback closes itself and its neighbours in the same batch.
func TestFaultCallbackClosesNeighbours(t *testing.T) {
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
	var clients []*net.TCPConn
	for range n {
		clients = append(clients, dial(t, ln.Addr()))
	}
	for range n {
		receive(t, all, "Opened")
	}
	// All of them have something to say in one batch.
	block := make(chan bool)
	g.Loops()[0].Run(func() { <-block })
	for _, c := range clients {
		c.Write([]byte("x"))
	}
	close(block)
	closed.Wait()
	if d := datas.Load(); d < 1 {
		t.Error("nobody got data")
	}
	if g.Conns() != 0 {
		t.Errorf("%d connections are left", g.Conns())
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
