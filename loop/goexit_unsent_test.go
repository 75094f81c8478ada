package loop_test

import (
	"io"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// L3: what a callback wrote before it ended the loop's goroutine cannot be sent any more, and is not
// lost in silence: the peer gets a reset, not the end of the stream.
func TestL3GoexitAfterAWriteResets(t *testing.T) {
	_, peer := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Write([]byte("lost"))
			runtime.Goexit()
			return len(b), nil
		}}
	})
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(peer); err == nil && string(b) != "lost" {
		t.Errorf("the peer got %q and the end of the stream, want what was written, or a reset", b)
	}
}
