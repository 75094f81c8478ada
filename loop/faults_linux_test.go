package loop_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Out of file descriptors, the listener waits without using processor time, and serves every
// client once descriptors are free again.
func TestL7OutOfDescriptors(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	// The clients' descriptors are opened first; the limit then leaves ten.
	const n = 60
	var clients []net.Conn
	hold := make(chan bool)
	g.Loops()[0].Run(func() { <-hold })
	for range n {
		clients = append(clients, dial(t, ln.Addr()))
	}
	restore := limitDescriptors(t, 10)
	close(hold)
	for _, c := range clients {
		c.Write([]byte("x"))
	}
	b := make([]byte, 1)
	clients[0].SetReadDeadline(time.Now().Add(testTimeout))
	io.ReadFull(clients[0], b) // the loop is running
	before, _ := testkit.CPUTime()
	time.Sleep(200 * time.Millisecond)
	after, _ := testkit.CPUTime()
	restore()
	if spent := after - before; spent > 20*time.Millisecond {
		t.Errorf("used %v of processor time in 200 ms without descriptors, want 20 ms or less", spent)
	}
	for i, c := range clients[1:] {
		c.SetReadDeadline(time.Now().Add(testTimeout))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("client %d is not served after descriptors are free: %v", i+1, err)
		}
	}
}
