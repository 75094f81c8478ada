package loop_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L3b: if nothing is unread, Closed is called also when the handler of a connection is replaced and
// paused in the turn in which its failure is found.
func TestL3bNewHandlerPausedWhileFailing(t *testing.T) {
	testkit.CheckLeaks(t)
	conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
	next := &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
	var first *loop.Conn
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) {
			first.SetHandler(next)
			first.Pause()
			return len(b), nil
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	failing := dial(t, ln.Addr())
	first = receive(t, conns, "the first connection")
	other := dial(t, ln.Addr())
	receive(t, conns, "the other connection")

	// Both events come in one turn, the failure first.
	blocked, release := make(chan struct{}), make(chan struct{})
	g.Loops()[0].Run(func() { close(blocked); <-release })
	<-blocked
	failing.SetLinger(0)
	failing.Close()
	if _, err := other.Write([]byte("replace")); err != nil {
		t.Fatal(err)
	}
	close(release)
	if why := receive(t, closed, "Closed"); !errors.Is(why, syscall.ECONNRESET) && !errors.Is(why, syscall.EPIPE) {
		t.Errorf("Closed got %v, want a reset", why)
	}
}
