//go:build unix

package netconn_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

var errUnexpected = errors.New("there is something to read")

// check looks whether an idle connection can be used again, as go-redis does. It reports whether the
// descriptor was looked at.
func check(c *netconn.Conn) (looked bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false, err
	}
	var found error
	err = raw.Read(func(fd uintptr) bool {
		looked = true
		var b [1]byte
		switch n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK); {
		case n > 0:
			found = errUnexpected
		case err == nil:
			found = io.EOF
		case err != syscall.EAGAIN:
			found = err
		}
		return true
	})
	return looked, errors.Join(err, found)
}

// A client can look at an idle connection by SyscallConn: it finds one that is alive, one on which bytes have arrived, and one that
// the peer has closed.
func TestRawRead(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			onBackends(t, func(t *testing.T, g *loop.Group) {
				c, peer := pair(t, g, network)
				// The MySQL driver looks by read(2), which must not block.
				raw := must(c.SyscallConn())
				var n int
				var errno error
				err := raw.Read(func(fd uintptr) bool { n, errno = syscall.Read(int(fd), make([]byte, 1)); return true })
				if err != nil || n > 0 || errno != syscall.EAGAIN {
					t.Errorf("%v; read(2): %d, %v, want EAGAIN", err, n, errno)
				}
				for range 3 {
					if looked, err := check(c); !looked || err != nil {
						t.Fatalf("an idle connection: %v (looked: %t)", err, looked)
					}
					// Data is not disturbed, and not forgotten once it is there.
					must(peer.Write([]byte("ab")))
					b := make([]byte, 1)
					if _, err := io.ReadFull(c, b); err != nil || b[0] != 'a' {
						t.Fatalf("%q, %v", b, err)
					}
					if _, err := check(c); err == nil {
						t.Error("a connection with an unread byte counts as idle")
					}
					if _, err := io.ReadFull(c, b); err != nil || b[0] != 'b' {
						t.Fatalf("%q, %v", b, err)
					}
				}
				peer.Close()
				if !testkit.Eventually(func() bool { _, err := check(c); return errors.Is(err, io.EOF) }) {
					_, err := check(c)
					t.Errorf("after Close of the peer: %v, want io.EOF", err)
				}
			})
		})
	}
}

// Received bytes are unread in memory, and not at the descriptor: f would miss them, so it is not called.
func TestRawReadUnread(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		must(peer.Write([]byte("ab")))
		if !testkit.Eventually(func() bool { looked, err := check(c); return !looked && errors.Is(err, errors.ErrUnsupported) }) {
			looked, err := check(c)
			t.Errorf("%v (looked: %t), want errors.ErrUnsupported without a look", err, looked)
		}
	})
}

// Read of the RawConn does not wait, keeps to the deadline, and ends with the connection.
func TestRawReadErrors(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, _ := pair(t, g, "tcp")
		raw := must(c.SyscallConn())
		calls := 0
		checkOpError(t, raw.Read(func(uintptr) bool { calls++; return false }), "raw-read", errors.ErrUnsupported)
		if calls != 1 {
			t.Errorf("the function was called %d times, want once", calls)
		}
		c.SetReadDeadline(time.Now())
		checkOpError(t, raw.Read(func(uintptr) bool { calls++; return true }), "raw-read", os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Time{})
		c.Close()
		checkOpError(t, raw.Read(func(uintptr) bool { calls++; return true }), "raw-read", net.ErrClosed)
		if calls != 1 {
			t.Error("the function was called in spite of the deadline, or of Close")
		}
	})
}

// After a reset there is an error to find.
func TestRawReadReset(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		peer.SetLinger(0)
		peer.Close()
		if !testkit.Eventually(func() bool { _, err := check(c); return err != nil }) {
			t.Error("a connection that was reset counts as idle")
		}
	})
}
