package tlsconn_test

import (
	"crypto/tls"
	"os"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// echo echoes, without recording anything.
type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) {
	_, err := c.Write(b)
	return len(b), err
}

// pinger sends a message when the one before has come back, until rounds are done.
type pinger struct {
	message []byte
	rounds  int // left
	got     int // bytes of the current answer
	done    chan bool
}

func (p *pinger) Data(c *loop.Conn, b []byte) (int, error) {
	if p.got += len(b); p.got < len(p.message) {
		return len(b), nil
	}
	p.got = 0
	if p.rounds--; p.rounds == 0 {
		p.done <- true
		return len(b), nil
	}
	_, err := c.Write(p.message)
	return len(b), err
}

// A message that is sent, received and answered allocates nothing, and an idle connection has no buffers.
func TestMessagesAllocateNothing(t *testing.T) {
	switch {
	case testkit.Race:
		t.Skip("skipped: the race detector allocates")
	case os.Getenv(tlsengine.ModeEnv) != "":
		t.Skip("skipped: " + tlsengine.ModeEnv + " forces the fall-back, which allocates")
	}
	const rounds = 400
	onBackends(t, func(t *testing.T, g *loop.Group) {
		versions(t, func(t *testing.T, server, client *tls.Config) {
			for _, size := range []int{64, 16 << 10} {
				opened := make(chan *loop.Conn, 1)
				ln := must(g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
					opened <- c
					return tlsconn.Server(server, echo{})
				}))
				p := &pinger{message: text(size), done: make(chan bool)}
				c, err := tlsconn.Dial(t.Context(), g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return p })
				if err != nil {
					t.Fatal(err)
				}
				run := func() {
					c.Loop().Run(func() {
						p.rounds = rounds
						c.Write(p.message)
					})
					<-p.done
				}
				// The runtime and the kernel's side of the backends allocate a little now and then.
				if n := testing.AllocsPerRun(3, run); n > rounds/20 {
					t.Errorf("%d bytes: %v allocations for %d messages there and back", size, n, rounds)
				}
				for _, conn := range []*loop.Conn{c, <-opened} {
					held := make(chan int, 1)
					conn.Loop().Run(func() { held <- tlsconn.HeldBytes(conn) })
					if n := <-held; n != 0 {
						t.Errorf("an idle connection holds %d bytes", n)
					}
				}
				c.Abort()
				ln.Close()
			}
		})
	})
}
