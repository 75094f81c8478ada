package loop_test

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L3b: if nothing is unread, Closed is called also when the handler of a connection is replaced and
// paused in the turn in which its failure is found.
func TestL3bNewHandlerPausedWhileFailing(t *testing.T) {
	testkit.CheckLeaks(t)
	tries := 1
	if runtime.GOOS == "windows" || hasAdversity(t) {
		tries = 50 // two events that have happened before may be reported in two turns, or in another order
	}
	for range tries {
		if replaceWhileFailing(t) {
			return
		}
	}
	t.Errorf("the replaced handler got Closed %d times, want the new one to get it", tries)
}

// replaceWhileFailing resets a connection, and replaces its handler in the same turn, if possible. It
// returns whether the new handler got Closed, and not the old one.
func replaceWhileFailing(t *testing.T) bool {
	conns := make(chan *loop.Conn, 1)
	closed, tooEarly := make(chan error, 1), make(chan error, 2)
	next := &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
	var first *loop.Conn
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{
			data: func(_ *loop.Conn, b []byte) (int, error) {
				first.SetHandler(next)
				first.Pause()
				return len(b), nil
			},
			readClosed: func(*loop.Conn) {}, // on Wine, a reset may look like EOF first
			closed:     func(_ *loop.Conn, why error) { tooEarly <- why },
		}
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
	var why error
	select {
	case why = <-closed:
	case why = <-tooEarly:
		t.Logf("the old handler's Closed got %v", why)
		return false
	case <-time.After(testTimeout):
		t.Fatalf("timed out waiting for Closed after %v\n%s", testTimeout, testkit.Stacks())
	}
	if !errors.Is(why, syscall.ECONNRESET) && !errors.Is(why, syscall.EPIPE) {
		t.Errorf("Closed got %v, want a reset", why)
	}
	return true
}
