package loop_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

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
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	open, _ := os.ReadDir("/proc/self/fd")
	low := old
	low.Cur = uint64(len(open)) + 10
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	close(hold)
	for _, c := range clients {
		c.Write([]byte("x"))
	}
	b := make([]byte, 1)
	clients[0].SetReadDeadline(time.Now().Add(testTimeout))
	io.ReadFull(clients[0], b) // the loop is running
	before := cpu()
	time.Sleep(200 * time.Millisecond)
	spent := cpu() - before
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if spent > 20*time.Millisecond {
		t.Errorf("used %v of processor time in 200 ms without descriptors, want 20 ms or less", spent)
	}
	for i, c := range clients[1:] {
		c.SetReadDeadline(time.Now().Add(testTimeout))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("client %d is not served after descriptors are free: %v", i+1, err)
		}
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
