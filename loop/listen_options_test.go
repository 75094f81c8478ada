package loop

import (
	"context"
	"testing"

	"github.com/pollux-io/pollux/internal/handle"
)

// The sockets that Listen makes have no duplicates, so that accepting needs no other call (see
// handle.Handle.Shared).
func TestListenersAreNotShared(t *testing.T) {
	g, err := NewGroup(Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*Conn) Handler { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range ln.acceptors {
		if handle.Of(a).Shared() {
			t.Errorf("socket %d counts as one that may have duplicates", i)
		}
	}
}
