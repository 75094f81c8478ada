//go:build unix

package loop_test

import (
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L10: a descriptor that was passed to a child before Attach, or is passed to one after it, is
// blocking for every holder. The loop must go on, with the connection too.
func TestL10AttachedIsSwitchedToBlocking(t *testing.T) {
	skipOnSimulation(t, "a child inherits descriptors")
	if !testkit.InChild(t) {
		return
	}
	g := group(t, loop.Config{Loops: 1})
	own, peer := netPair(t, "tcp")
	f, err := own.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again := func() { // makes all duplicates blocking
		if err := syscall.SetNonblock(int(f.Fd()), false); err != nil {
			t.Error(err)
		}
		runtime.GC() // which would wait for a call that blocks
	}
	again()
	const size = 32 << 20 // more than the kernel takes
	if err := g.Attach(own, nil, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			again()
			return c.Write(make([]byte, size))
		}}
	}); err != nil {
		t.Fatal(err)
	}
	again()
	io.WriteString(peer, "x")
	first := make([]byte, 1) // after Data
	if _, err := io.ReadFull(peer, first); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again()
		turn := make(chan bool)
		g.Loops()[0].Run(func() { close(turn) })
		receive(t, turn, "a turn of the loop")
	}
	if n, err := io.CopyN(io.Discard, peer, size-1); err != nil {
		t.Errorf("the peer received %d bytes, %v", n+1, err)
	}
}
