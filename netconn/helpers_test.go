package netconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/grouptest"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Where tests run: package grouptest.
var (
	newGroup   = grouptest.New
	onBackends = grouptest.OnBackends
	onSim      = grouptest.OnSim
)

// everywhere is onBackends and onSim.
func everywhere(t *testing.T, f func(t *testing.T, g *loop.Group)) {
	t.Helper()
	onBackends(t, f)
	onSim(t, f)
}

const noUnixOnWine = "not tested under Wine, which has no Unix sockets; Windows has them since 10 1803"

func hasUnix(g *loop.Group) bool { return !sys.OnWine() || g.Config().Network != nil }

// resetMayBeEOF is why tests accept io.EOF for a reset if hidesResets returns true.
const resetMayBeEOF = "Wine's server may consume the error of a reset before a receive is started, which then returns io.EOF; on Windows it is WSAECONNRESET"

// hidesResets reports whether the end of a connection may be io.EOF although the peer has reset it.
func hidesResets(g *loop.Group) bool { return sys.OnWine() && g.Config().Backend == "overlapped" }

// streamNetworks returns the networks of connections that the group has sockets for.
func streamNetworks(t testing.TB, g *loop.Group) []string {
	t.Helper()
	if !hasUnix(g) {
		t.Log("unix: " + noUnixOnWine)
		return []string{"tcp"}
	}
	return []string{"tcp", "unix"}
}

// listen listens at a free address of network "tcp" or "unix". The listener is closed after the test.
func listen(t testing.TB, g *loop.Group, network string) *netconn.Listener {
	t.Helper()
	return listenWith(t, &netconn.ListenConfig{Group: g}, network)
}

// listenWith is listen with a configuration.
func listenWith(t testing.TB, lc *netconn.ListenConfig, network string) *netconn.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(testkit.TempDir(t), "s")
	}
	ln, err := lc.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*netconn.Listener)
}

// pair returns two ends of a connection, the dialed one first, which are closed after the test.
func pair(t testing.TB, g *loop.Group, network string) (dialed, accepted *netconn.Conn) {
	t.Helper()
	return connect[*netconn.Conn](t, listen(t, g, network), &netconn.Dialer{Group: g})
}

// connect returns two ends of a connection to ln, which it closes. Both are of type C, and closed after the test.
func connect[C net.Conn](t testing.TB, ln *netconn.Listener, dialer *netconn.Dialer) (dialed, accepted C) {
	t.Helper()
	defer ln.Close()
	d, err := dialer.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); a.Close() })
	return d.(C), a.(C)
}

// result is what a call returns.
type result struct {
	n   int
	err error
}

// start runs a call on a goroutine of its own, and returns the channel of its result.
func start(call func() (int, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := call()
		done <- result{n, err}
	}()
	return done
}

// checkOpError fails the test unless err is a *net.OpError of op that wraps want.
func checkOpError(t testing.TB, err error, op string, want error) {
	t.Helper()
	var o *net.OpError
	if !errors.As(err, &o) || o.Op != op || !errors.Is(err, want) {
		t.Errorf("%v (%T), want a *net.OpError of %q with %v", err, err, op, want)
	}
}

// fill writes until a write ends at its deadline: the peer reads nothing, and all buffers are full. It returns
// how many bytes were written.
func fill(t testing.TB, c net.Conn) (total int64) {
	t.Helper()
	b := make([]byte, 1<<20)
	for {
		if err := c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Write(b)
		total += int64(n)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if n == 0 { // not only the kernel was slow
			return total
		}
	}
}

// discard reads n bytes.
func discard(t testing.TB, r io.Reader, n int64) {
	t.Helper()
	if m, err := io.CopyN(io.Discard, struct{ io.Reader }{r}, n); err != nil {
		t.Fatalf("%v after %d bytes, want %d", err, m, n)
	}
}

// shutdownNow ends a group, and cuts off its connections.
func shutdownNow(g *loop.Group) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Shutdown(ctx)
}
