package loop_test

import (
	"fmt"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// L2: a connection may be printed from any goroutine, while it is open and after its end: with its
// addresses, and not with its fields, which other goroutines change.
func TestL2String(t *testing.T) {
	opened, closed := make(chan *loop.Conn, 1), make(chan string, 1)
	_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { opened <- c },
			closed: func(c *loop.Conn, _ error) { closed <- fmt.Sprint(c) },
		}
	})
	c := receive(t, opened, "Opened")
	want := fmt.Sprintf("tcp %v->%v", peer.RemoteAddr(), peer.LocalAddr())
	if got := fmt.Sprint(c); got != want {
		t.Errorf("an open connection prints as %q, want %q", got, want)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	// The peer's address is not always known then (RemoteAddr).
	got, want := receive(t, closed, "Closed"), fmt.Sprintf("tcp ?->%v", peer.LocalAddr())
	if got != want && got != "tcp ?->?" {
		t.Errorf("a closed connection prints as %q, want %q", got, want)
	}
}
