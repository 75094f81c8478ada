package stream

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// watchdog bounds how long a test waits for an event that comes immediately.
const watchdog = time.Minute

// await calls done until it returns true.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(watchdog); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen within %v", what, watchdog)
		}
	}
}

func check(t *testing.T, call string, e syscall.Errno) {
	t.Helper()
	if e != 0 {
		t.Fatal(sys.CallError(call, e))
	}
}

// own returns a handle of fd that the test closes.
func own(t *testing.T, fd sys.FD, kind handle.Kind) *handle.Handle {
	h := &handle.Handle{}
	h.Init(fd, kind)
	t.Cleanup(func() { h.Close() })
	return h
}

// bound returns a TCP socket that is bound to a free port of 127.0.0.1, and its address.
func bound(t *testing.T, kind handle.Kind) (*handle.Handle, *sys.Sockaddr) {
	t.Helper()
	fd, e := sys.Socket(sys.AF_INET, sys.SOCK_STREAM, 0)
	check(t, "socket", e)
	h := own(t, fd, kind)
	var a sys.Sockaddr
	a.SetAddrPort(netip.MustParseAddrPort("127.0.0.1:0"), sys.AF_INET)
	check(t, "bind", sys.Bind(fd, &a))
	at, e := sys.LocalAddr(fd)
	check(t, "getsockname", e)
	return h, &at
}

// listening returns a listener and its address.
func listening(t *testing.T) (*handle.Handle, *sys.Sockaddr) {
	t.Helper()
	h, at := bound(t, handle.TCPListener)
	check(t, "listen", sys.Listen(fdOf(h), 1))
	return h, at
}

// prepared returns a TCP stream that is to be connected to an address.
func prepared(t *testing.T, to *sys.Sockaddr) Stream {
	t.Helper()
	fd, e := sys.Socket(sys.AF_INET, sys.SOCK_STREAM, 0)
	check(t, "socket", e)
	return Stream{own(t, fd, handle.TCPStream), NewAttempt(to)}
}

// pair returns the two ends of a TCP connection; the first has dialed.
func pair(t *testing.T) (dialed, accepted Stream) {
	t.Helper()
	l, at := listening(t)
	dialed = prepared(t, at)
	if err := dialed.BeginConnect(); err != nil {
		t.Fatal(err)
	}
	await(t, "connecting", func() bool { return !errors.Is(dialed.ConnectError(), ErrWouldBlock) })
	await(t, "accepting", func() bool {
		fd, _, err := Accept(l)
		if err == nil {
			accepted = Stream{Handle: own(t, fd, handle.TCPStream)}
		} else if !errors.Is(err, ErrWouldBlock) {
			t.Fatal(err)
		}
		return err == nil
	})
	return dialed, accepted
}

// fdOf returns the descriptor of an open handle.
func fdOf(h *handle.Handle) sys.FD {
	fd, _ := h.Use()
	h.Done()
	return fd
}

// reset closes the stream with a reset.
func reset(s Stream) {
	sys.SetLinger(fdOf(s.Handle), true, 0)
	s.Handle.Close()
}

// wantConnectError checks that err is a failure of connecting to an address.
func wantConnectError(t *testing.T, err error, e syscall.Errno, to *sys.Sockaddr) {
	t.Helper()
	op := (*net.OpError)(nil)
	if !errors.As(err, &op) || op.Op != "connect" || !errors.Is(err, e) || op.Addr.String() != to.AddrPort().String() {
		t.Errorf("the error is %v, want %v of connecting to %v", err, e, to.AddrPort())
	}
}
