//go:build windows

package sock_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// Winsock error numbers, which errors.Is must match as well as the POSIX names.
const (
	wsaECONNREFUSED = syscall.Errno(10061)
	wsaEADDRINUSE   = syscall.Errno(10048)
	wsaESHUTDOWN    = syscall.Errno(10058)
)

// TestErrorsHaveBothNames: errors.Is matches the POSIX name and the Winsock number;
// errors.As finds the errno.
func TestErrorsHaveBothNames(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	_, twice := sock.ListenTCP(l.Addr())
	addr := l.Addr()
	l.Close()
	refused, err := sock.ConnectTCP(addr)
	if err == nil {
		defer refused.Close()
		err = until(t, refused, pollux.Writable, refused.ConnectError)
	}
	c, _ := tcpPair(t, loopback4)
	must(t, c.CloseWrite())
	_, late := c.Write([]byte("x"))
	for _, x := range []struct {
		err           error
		posix, native syscall.Errno
	}{
		{twice, syscall.EADDRINUSE, wsaEADDRINUSE},
		{err, syscall.ECONNREFUSED, wsaECONNREFUSED},
		{late, syscall.EPIPE, wsaESHUTDOWN},
	} {
		if !errors.Is(x.err, x.posix) || !errors.Is(x.err, x.native) || errors.Is(x.err, syscall.EACCES) {
			t.Errorf("%v: want it to be %v and %d", x.err, x.posix, uintptr(x.native))
		}
		var e syscall.Errno
		if !errors.As(x.err, &e) || e != x.posix {
			t.Errorf("%v: errors.As finds %d", x.err, uintptr(e))
		}
		var op *net.OpError
		var call *os.SyscallError
		if !errors.As(x.err, &op) || !errors.As(x.err, &call) || !strings.Contains(x.err.Error(), x.posix.Error()) {
			t.Errorf("%v: want a *net.OpError around an *os.SyscallError", x.err)
		}
	}
}

// TestReadAfterCloseRead: Read returns io.EOF, as on Unix.
func TestReadAfterCloseRead(t *testing.T) {
	c, _ := tcpPair(t, loopback4)
	must(t, c.CloseRead())
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
}

// TestNotInherited: programs that this process starts do not inherit sockets, whether
// dialled, accepted or duplicated.
func TestNotInherited(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	dup := duplicateOf(t, c)
	defer dup.Close()
	for _, x := range []*sock.TCPStream{c, s, dup} {
		raw, err := x.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) {
			var flags uint32
			kernel32 := syscall.NewLazyDLL("kernel32.dll")
			if r, _, err := kernel32.NewProc("GetHandleInformation").Call(fd, uintptr(unsafe.Pointer(&flags))); r == 0 {
				t.Error(err)
			}
			if flags&syscall.HANDLE_FLAG_INHERIT != 0 {
				t.Error("the socket is inherited")
			}
		}))
	}
	must(t, c.Close())
	write, read := []byte("still open"), make([]byte, 64)
	if n, err := dup.Write(write); n != len(write) || err != nil {
		t.Error(n, err)
	}
	must(t, until(t, s, pollux.Readable, func() error { _, err := s.Read(read); return err }))
}

func duplicateOf(t *testing.T, c *sock.TCPStream) *sock.TCPStream {
	t.Helper()
	dup, err := sock.FromTCPConn(c)
	must(t, err)
	return dup
}

// TestFromNet: sockets of package net can be duplicated to sock; the other direction is not
// supported.
func TestFromNet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	ours, err := sock.FromTCPListener(l.(*net.TCPListener))
	must(t, err)
	defer ours.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	stream, err := sock.FromTCPConn(c.(*net.TCPConn))
	must(t, err)
	defer stream.Close()
	peer, err := l.Accept()
	must(t, err)
	defer peer.Close()
	_, err = peer.Write([]byte("x"))
	must(t, err)
	must(t, until(t, stream, pollux.Readable, func() error { _, err := stream.Read(make([]byte, 1)); return err }))
	if stream.RemoteAddr() != netip.MustParseAddrPort(l.Addr().String()) {
		t.Error(stream.RemoteAddr())
	}
	if _, err := stream.File(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("File:", err)
	}
	if _, err := stream.NetConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("NetConn:", err)
	}
}

// TestForeign: any socket can be polled; the error for other files names their kind.
func TestForeign(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	fd, err := c.Detach()
	must(t, err)
	f, err := sock.FromFD(fd)
	must(t, err)
	defer f.Close()
	_, err = s.Write([]byte("abc"))
	must(t, err)
	b := make([]byte, 8)
	n := 0
	must(t, until(t, f, pollux.Readable, func() (err error) { n, err = f.Read(b); return err }))
	if string(b[:n]) != "abc" {
		t.Errorf("%q", b[:n])
	}

	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	again, err := sock.FromFD(fd) // two sources, one socket
	must(t, err)
	must(t, q.Register(f, 1, pollux.Readable, pollux.Edge))
	if err := q.Register(again, 1, pollux.Readable, pollux.Edge); !errors.Is(err, pollux.ErrRegistered) {
		t.Error("the same socket twice:", err)
	}
	again.Detach()

	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	defer r.Close()
	pipe, err := sock.FromFile(r)
	must(t, err)
	defer pipe.Close()
	err = q.Register(pipe, 2, pollux.Readable, pollux.Edge)
	if !errors.Is(err, pollux.ErrNotPollable) || !strings.Contains(err.Error(), "pipe") {
		t.Error("a pipe:", err)
	}
	t.Log(err)
}

// TestMissing: features that Windows lacks return ErrUnsupported.
func TestMissing(t *testing.T) {
	if _, _, err := sock.Pipe(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("Pipe:", err)
	} else {
		t.Log(err)
	}
	if _, _, err := sock.UnixPair(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("UnixPair:", err)
	}
	if _, err := sock.ListenTCP(loopback4, sock.ReusePort(true)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("ReusePort:", err)
	}
	c, _ := tcpPair(t, loopback4)
	if err := c.SetUserTimeout(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("SetUserTimeout:", err)
	}
}

// TestUnixStreamsOnWindows: Windows has Unix sockets since 10 1803; Wine does not.
func TestUnixStreamsOnWindows(t *testing.T) {
	name := filepath.Join(os.TempDir(), "pollux-test.sock") // Wine's TempDir cannot remove one
	os.Remove(name)
	l, err := sock.ListenUnix(name)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skip(err)
	}
	must(t, err)
	defer l.Close()
	c, err := sock.ConnectUnix(name)
	must(t, err)
	defer c.Close()
	must(t, until(t, l, pollux.Readable, func() error {
		s, err := l.Accept()
		if err == nil {
			defer s.Close()
			_, err = s.Write([]byte("x"))
		}
		return err
	}))
	must(t, until(t, c, pollux.Readable, func() error { _, err := c.Read(make([]byte, 1)); return err }))
}
