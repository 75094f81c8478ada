package loop_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// quiet returns a logger that discards everything.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// addressInUse counts how often binding a released address fails with EADDRINUSE.
type addressInUse int

// tolerates reports whether err is EADDRINUSE and has occurred seldom enough to ignore: another
// process may have taken the port. Wine may also close the socket a moment later.
func (n *addressInUse) tolerates(err error) bool {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return false
	}
	*n++
	return *n <= 2 || sys.OnWine() && *n <= 8
}

// failOnLog returns a logger that fails the test at every record that contains none of the
// expected texts.
func failOnLog(t *testing.T, expected ...string) *slog.Logger {
	return slog.New(slog.NewTextHandler(failOnLogWriter{t, expected}, nil))
}

type failOnLogWriter struct {
	t        *testing.T
	expected []string
}

func (c failOnLogWriter) Write(b []byte) (int, error) {
	if !slices.ContainsFunc(c.expected, func(s string) bool { return strings.Contains(string(b), s) }) {
		c.t.Errorf("unexpected log record: %s", b)
	}
	return len(b), nil
}

// testTimeout bounds every wait for what must happen.
const testTimeout = testkit.Watchdog

// funcs is a handler whose methods call functions.
type funcs struct {
	data       func(c *loop.Conn, b []byte) (int, error)
	opened     func(c *loop.Conn)
	readClosed func(c *loop.Conn)
	drained    func(c *loop.Conn)
	closed     func(c *loop.Conn, why error)
}

func (h *funcs) Data(c *loop.Conn, b []byte) (int, error) {
	if h.data == nil {
		return len(b), nil
	}
	return h.data(c, b)
}

func (h *funcs) Opened(c *loop.Conn) {
	if h.opened != nil {
		h.opened(c)
	}
}

func (h *funcs) ReadClosed(c *loop.Conn) {
	if h.readClosed != nil {
		h.readClosed(c)
		return
	}
	c.Close()
}

func (h *funcs) Drained(c *loop.Conn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h *funcs) Closed(c *loop.Conn, why error) {
	if h.closed != nil {
		h.closed(c, why)
	}
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(testTimeout):
		t.Fatalf("timed out waiting for %s after %v\n%s", what, testTimeout, testkit.Stacks())
		panic("unreachable")
	}
}

// receiveAll receives the parts of a text of n bytes: how many there are is up to the network.
func receiveAll(t testing.TB, c <-chan string, n int, what string) (all string) {
	t.Helper()
	for len(all) < n {
		all += receive(t, c, what)
	}
	return all
}

// waitBlocked waits until n goroutines are blocked in a function: "loop.(*Group).Dial".
func waitBlocked(t testing.TB, function string, n int) {
	t.Helper()
	blocked := func() (count int) {
		for stack := range strings.SplitSeq(testkit.Stacks(), "\n\n") {
			state, frames, _ := strings.Cut(stack, "\n")
			if strings.Contains(frames, "/"+function+"(") && !strings.Contains(state, "[run") {
				count++
			}
		}
		return count
	}
	if !testkit.Eventually(func() bool { return blocked() >= n }) {
		t.Fatalf("%d goroutines are blocked in %s, want %d", blocked(), function, n)
	}
}

func ping(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(testTimeout))
	b := make([]byte, 4)
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("echo = %q, %v, want ping", b, err)
	}
}
