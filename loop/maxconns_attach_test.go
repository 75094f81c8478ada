package loop_test

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// L7: at MaxConns a client of RelayTo is closed, and OnEnd gets ErrTooManyConns; below it, the next one
// is relayed. The refused dials leave nothing behind.
func TestL7RelayToAtMaxConns(t *testing.T) {
	testkit.CheckLeaks(t)
	server := startEchoServer(t)
	ends := make(chan loop.RelayEnd, 10)
	h, err := loop.RelayTo("tcp", server, loop.RelayConfig{OnEnd: func(e loop.RelayEnd) { ends <- e }})
	if err != nil {
		t.Fatal(err)
	}
	g := group(t, loop.Config{Loops: 1, MaxConns: 3, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	first := dial(t, ln.Addr())
	ping(t, first)
	for range 3 {
		c := dial(t, ln.Addr())
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a client at MaxConns read %d bytes, %v, want EOF", n, err)
		}
		c.Close()
		if e := receive(t, ends, "OnEnd"); !errors.Is(e.Err, loop.ErrTooManyConns) || e.A == nil || e.B != nil || e.From != nil {
			t.Errorf("OnEnd got %+v, want ErrTooManyConns", e)
		}
	}
	ping(t, first) // the relay has not suffered
	first.Close()
	if e := receive(t, ends, "OnEnd"); e.Err != nil || e.BytesAToB != 8 || e.BytesBToA != 8 {
		t.Errorf("OnEnd got %+v, want 8 bytes each way", e)
	}
	next := dial(t, ln.Addr())
	ping(t, next)
	next.Close()
	receive(t, ends, "OnEnd")
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) || len(ends) > 0 {
		t.Errorf("%d connections are left, and %d more ends", g.Conns(), len(ends))
	}
}

// L7: Attach from many goroutines never exceeds MaxConns: a connection more is ErrTooManyConns, and still
// the caller's. A slot is released by the end of an attached connection, and by one that is detached,
// also for a connection that waits in a listener.
func TestL7AttachAtMaxConns(t *testing.T) {
	skipWithLayer(t, needsDetach)
	testkit.CheckLeaks(t)
	const limit = 4
	g := group(t, loop.Config{Loops: 2, MaxConns: limit, Logger: quiet()})
	skipUnlessAttaches(t, g)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	var open, refused atomic.Int64
	conns := make(chan *loop.Conn, limit+1)
	var all sync.WaitGroup
	for range 4 * limit {
		own, peer := netPair(t, "tcp")
		all.Go(func() {
			err := g.Attach(own, nil, func(c *loop.Conn) loop.Handler {
				if open.Add(1) > limit {
					t.Error("more connections than MaxConns are open")
				}
				conns <- c
				return echo{}
			})
			switch {
			case err == nil:
				ping(t, peer)
			case errors.Is(err, loop.ErrTooManyConns):
				refused.Add(1)
				go own.Write([]byte("mine"))
				relayed(t, peer, "mine")
				own.Close()
			default:
				t.Errorf("Attach: %v", err)
			}
		})
	}
	all.Wait()
	if open.Load() != limit || refused.Load() != 3*limit || g.Conns() != limit {
		t.Fatalf("%d connections are open, %d refused, %d counted, want %d, %d, %d", open.Load(), refused.Load(), g.Conns(), limit, 3*limit, limit)
	}
	waiting := dial(t, ln.Addr())
	checkNotServed(t, waiting)
	detached := make(chan *sock.Stream, 1)
	if err := (<-conns).DetachStream(func(s *sock.Stream, _ []byte, err error) { detached <- s }); err != nil {
		t.Fatal(err)
	}
	own := receive(t, detached, "the detached connection")
	defer own.Close()
	checkServed(t, waiting)
	if err := g.AttachStream(own, nil, func(*loop.Conn) loop.Handler { t.Error("accept was called"); return nil }); !errors.Is(err, loop.ErrTooManyConns) {
		t.Errorf("Attach at MaxConns: %v, want ErrTooManyConns", err)
	}
	(<-conns).Abort()
	if !testkit.Eventually(func() bool { return g.Conns() == limit-1 }) {
		t.Fatalf("%d connections, want %d", g.Conns(), limit-1)
	}
	if err := g.AttachStream(own, nil, func(*loop.Conn) loop.Handler { return nil }, sock.ReadBuffer(-1)); !errors.Is(err, loop.ErrBadArgument) {
		t.Errorf("Attach with an invalid option: %v, want ErrBadArgument", err)
	}
	if n := g.Conns(); n != limit-1 {
		t.Errorf("%d connections after a refused Attach, want %d", n, limit-1)
	}
	again := make(chan bool, 1)
	if err := g.AttachStream(own, nil, func(*loop.Conn) loop.Handler { again <- true; return echo{} }); err != nil {
		t.Errorf("Attach below MaxConns: %v", err)
	}
	receive(t, again, "accept")
}
