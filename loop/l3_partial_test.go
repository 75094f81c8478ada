package loop_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// L3: what the kernel does not take of what one callback has written follows later, although the
// callback has made no other request and nothing was unsent before it.
func TestL3CallbackWriteIsTakenInPart(t *testing.T) {
	const (
		piece  = 8 << 10 // too small to bypass the staging buffer
		pieces = 8192    // more than the kernel's buffers take
	)
	unsent := make(chan int, 1)
	var written atomic.Int32 // a socket is no synchronisation for the race detector
	_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			if n := c.Unsent(); n > 0 || written.Load() == pieces {
				unsent <- n
				return len(b), c.Close()
			}
			_, err := c.Write(patternOf(int(written.Add(1))-1, piece))
			unsent <- 0
			return len(b), err
		}}
	})
	for sent := 0; sent == 0; {
		if _, err := peer.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		sent = receive(t, unsent, "the callback")
		if written.Load() == pieces {
			t.Fatalf("the kernel has taken %d bytes, or some were lost", pieces*piece)
		}
	}
	got, err := io.ReadAll(peer)
	if err != nil {
		t.Fatal(err)
	}
	all := int(written.Load())
	if len(got) != all*piece {
		t.Fatalf("the peer got %d bytes, of %d written", len(got), all*piece)
	}
	for i := range all {
		if !bytes.Equal(got[i*piece:(i+1)*piece], patternOf(i, piece)) {
			t.Fatalf("piece %d of %d differs from what was written", i, all)
		}
	}
}

// patternOf returns the bytes of a piece, which differ from those of other pieces.
func patternOf(piece, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) ^ byte(piece*31)
	}
	return b
}
