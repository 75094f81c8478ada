//go:build unix

package sock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

func TestUnixStreams(t *testing.T) {
	names := []string{filepath.Join(t.TempDir(), "s")}
	if runtime.GOOS == "linux" {
		names = append(names, "@pollux-test-"+filepath.Base(t.TempDir()))
	}
	for _, name := range names {
		l, err := sock.ListenUnix(name)
		must(t, err)
		c, err := sock.ConnectUnix(name)
		must(t, err)
		var s *sock.UnixStream
		must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
		if c.RemoteAddr() != name || s.LocalAddr() != name || l.Addr() != name || c.LocalAddr() != "" {
			t.Errorf("names %q %q %q %q, want %q three times and an unnamed client", c.RemoteAddr(), s.LocalAddr(), l.Addr(), c.LocalAddr(), name)
		}
		if err := c.ConnectError(); err != nil {
			t.Errorf("ConnectError: %v", err)
		}
		if _, err := c.Write([]byte("hi")); err != nil {
			t.Error(err)
		}
		b := make([]byte, 8)
		must(t, until(t, s, pollux.Readable, func() error { _, err := s.Read(b); return err }))
		must(t, c.Close())
		if err := until(t, s, pollux.Readable, func() error { _, err := s.Read(b); return err }); err != io.EOF {
			t.Errorf("Read after the peer's Close: %v", err)
		}
		must(t, s.Close())
		must(t, l.Close())
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s is left after Close", name)
		}
		if _, err := sock.ConnectUnix(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("connecting without a listener: %v, want an error with the name", err)
		}
	}
}

func TestUnixNames(t *testing.T) {
	for _, bad := range []string{"", strings.Repeat("x", 200), "a\x00b"} {
		if _, err := sock.ListenUnix(bad); err == nil {
			t.Errorf("listening on %q succeeded", bad)
		}
		if _, err := sock.ConnectUnix(bad); err == nil {
			t.Errorf("connecting to %q succeeded", bad)
		}
	}
}

// Close after Detach does not remove the path: it belongs to the detached descriptor.
func TestUnixPathAfterDetach(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	l, err := sock.ListenUnix(name)
	must(t, err)
	fd, err := l.Detach()
	must(t, err)
	f, err := sock.FromFD(fd)
	must(t, err)
	defer f.Close()
	if err := l.Close(); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("Close after Detach: %v", err)
	}
	if _, err := l.Detach(); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("Detach after Detach: %v", err)
	}
	c, err := sock.ConnectUnix(name)
	if err != nil {
		t.Fatalf("the detached listener must still accept on its path: %v", err)
	}
	must(t, c.Close())
}

// After a failed attempt the path of LocalUnixAddr is removed, so that it can be repeated; a
// path that existed before stays.
func TestUnixLocalAddrAfterFailure(t *testing.T) {
	dir := t.TempDir()
	nobody, me := filepath.Join(dir, "nobody"), filepath.Join(dir, "me")
	for what, connect := range map[string]func(o sock.Option) error{
		"ConnectUnix":         func(o sock.Option) error { _, err := sock.ConnectUnix(nobody, o); return err },
		"ConnectUnixDatagram": func(o sock.Option) error { _, err := sock.ConnectUnixDatagram(nobody, o); return err },
	} {
		for range 2 {
			if err := connect(sock.LocalUnixAddr(me)); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("%s without a peer: %v, want ENOENT each time", what, err)
			}
		}
		if runtime.GOOS == "linux" {
			t.Chdir(dir)
			must(t, os.WriteFile("@me", nil, 0o600))
			if err := connect(sock.LocalUnixAddr("@me")); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("%s with an abstract name: %v", what, err)
			}
			must(t, os.Remove("@me"))
		}
	}
	u, err := sock.ListenUnixDatagram(me)
	must(t, err)
	defer u.Close()
	if _, err := sock.ConnectUnix(nobody, sock.LocalUnixAddr(me)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a name that is in use: %v, want EADDRINUSE", err)
	}
	if _, err := os.Lstat(me); err != nil {
		t.Errorf("the path of another socket was removed: %v", err)
	}
}

func TestUnixDatagrams(t *testing.T) {
	dir := t.TempDir()
	a, err := sock.ListenUnixDatagram(filepath.Join(dir, "a"))
	must(t, err)
	defer a.Close()
	b, err := sock.ConnectUnixDatagram(a.LocalAddr(), sock.LocalUnixAddr(filepath.Join(dir, "b")))
	must(t, err)
	defer b.Close()
	if _, err := b.Write([]byte("to a")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	var n int
	var from string
	must(t, until(t, a, pollux.Readable, func() (err error) { n, from, err = a.ReadFrom(buf); return err }))
	if string(buf[:n]) != "to a" || from != b.LocalAddr() {
		t.Errorf("ReadFrom = %q from %q", buf[:n], from)
	}
	if _, err := a.WriteTo([]byte("to b"), from); err != nil {
		t.Fatal(err)
	}
	must(t, until(t, b, pollux.Readable, func() (err error) { n, err = b.Read(buf); return err }))
	if string(buf[:n]) != "to b" {
		t.Errorf("Read = %q", buf[:n])
	}
	nobody := filepath.Join(dir, "nobody")
	if _, err := a.WriteTo([]byte("x"), nobody); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), nobody) {
		t.Errorf("WriteTo: %v, want ENOENT and the name", err)
	}
	x, y, err := sock.UnixDatagramPair()
	must(t, err)
	defer x.Close()
	defer y.Close()
	if _, err := x.Write(nil); err != nil {
		t.Fatal(err)
	}
	if n, err := y.Read(buf); n != 0 || err != nil {
		t.Errorf("an empty datagram: %d, %v, want 0 and no error", n, err)
	}
}

func TestUnixPairFillsAndDrains(t *testing.T) {
	a, b, err := sock.UnixPair()
	must(t, err)
	defer a.Close()
	defer b.Close()
	fillAndDrain(t, a, b, a)
}

// fillAndDrain fills w, drains r, and waits for w to be writable again.
func fillAndDrain(t *testing.T, w io.Writer, r io.Reader, src pollux.Source) {
	t.Helper()
	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	must(t, q.Register(src, 1, pollux.Writable, pollux.Edge))
	events := make([]pollux.Event, 1)
	chunk := make([]byte, 10_000)
	for range 3 {
		if n, err := q.Wait(events, patience); n != 1 || err != nil || !events[0].Writable() {
			t.Fatalf("Wait = %v, %v, want Writable", events[:n], err)
		}
		sent, got := 0, 0
		for {
			n, err := w.Write(chunk)
			sent += n
			if err == sock.ErrWouldBlock {
				break
			}
			must(t, err)
		}
		for {
			n, err := r.Read(chunk)
			got += n
			if err == sock.ErrWouldBlock {
				break
			}
			must(t, err)
		}
		if got != sent {
			t.Fatalf("received %d bytes, sent %d", got, sent)
		}
	}
}

func TestPipe(t *testing.T) {
	r, w, err := sock.Pipe()
	must(t, err)
	defer r.Close()
	fillAndDrain(t, w, r, w)
	must(t, w.Close())
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read without a writer: %v, want EOF", err)
	}
	r2, w2, err := sock.Pipe()
	must(t, err)
	must(t, r2.Close())
	if _, err := w2.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write without a reader: %v, want EPIPE", err)
	}
	must(t, w2.Close())
}

func TestConversions(t *testing.T) {
	// From net and back: one connection with three owners.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer c.Close()
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()

	s, err := sock.FromTCPConn(c.(*net.TCPConn))
	must(t, err)
	defer s.Close()
	if _, err := far.Write([]byte("to the duplicate")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 32)
	n := 0
	must(t, until(t, s, pollux.Readable, func() (err error) { n, err = s.Read(b); return err }))
	if string(b[:n]) != "to the duplicate" {
		t.Errorf("Read = %q", b[:n])
	}
	back, err := s.NetConn()
	must(t, err)
	defer back.Close()
	if _, err := back.Write([]byte("and back")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(far, b[:8]); err != nil || string(b[:n]) != "and back" {
		t.Errorf("%q, %v", b[:n], err)
	}
	l, err := sock.FromTCPListener(ln.(*net.TCPListener))
	must(t, err)
	if l.Addr().String() != ln.Addr().String() {
		t.Errorf("Addr = %v, want %v", l.Addr(), ln.Addr())
	}
	must(t, l.Close())
	if _, err := sock.FromUDPConn(c.(*net.TCPConn)); err == nil {
		t.Error("FromUDPConn accepted a TCP connection")
	}
}

func TestForeignDescriptors(t *testing.T) {
	pr, pw, err := os.Pipe()
	must(t, err)
	defer pw.Close()
	f, err := sock.FromFile(pr)
	must(t, err)
	must(t, pr.Close())
	if _, err := f.Read(make([]byte, 1)); err != sock.ErrWouldBlock {
		t.Errorf("Read: %v, want would-block: foreign descriptors are made non-blocking", err)
	}
	if _, err := pw.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	must(t, until(t, f, pollux.Readable, func() error { _, err := f.Read(make([]byte, 1)); return err }))
	fd, err := f.Detach()
	must(t, err)
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Detach: %v", err)
	}
	again, err := sock.FromFD(fd)
	must(t, err)
	must(t, again.Close())
	if _, err := sock.FromFD(^uintptr(0)); err == nil {
		t.Error("FromFD(-1) succeeded")
	}
}

// After a source is closed, a duplicate would keep the kernel's registration alive if Close
// did not remove it: there must be no stale events and no spinning.
func TestDuplicateCausesNoStaleEvents(t *testing.T) {
	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	a, b, err := sock.UnixPair()
	must(t, err)
	defer b.Close()
	must(t, q.Register(a, 1, pollux.Readable, pollux.Level))
	dup, err := a.File()
	must(t, err)
	defer dup.Close()
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	must(t, a.Close())
	events := make([]pollux.Event, 1)
	if n, err := q.Wait(events, 20e6); n != 0 || err != nil {
		t.Errorf("Wait = %v, %v after the source was closed", events[:n], err)
	}
}

func TestOneFileTwoQueues(t *testing.T) {
	a, b, err := sock.UnixPair()
	must(t, err)
	defer a.Close()
	defer b.Close()
	file, err := a.File()
	must(t, err)
	dup, err := sock.FromFile(file)
	must(t, err)
	file.Close()
	defer dup.Close()
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, src := range []pollux.Source{a, dup} {
		q, err := pollux.New()
		must(t, err)
		must(t, q.Register(src, 1, pollux.Readable, pollux.Edge))
		events := make([]pollux.Event, 1)
		if n, err := q.Wait(events, patience); n != 1 || err != nil {
			t.Errorf("Wait = %v, %v", events[:n], err)
		}
		must(t, q.Close())
	}
}

func TestSameDescriptorTwice(t *testing.T) {
	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	r, w, err := sock.Pipe()
	must(t, err)
	defer w.Close()
	fd, err := r.Detach()
	must(t, err)
	x, err := sock.FromFD(fd)
	must(t, err)
	y, err := sock.FromFD(fd)
	must(t, err)
	defer x.Close()
	must(t, q.Register(x, 1, pollux.Readable, pollux.Edge))
	if err := q.Register(y, 2, pollux.Readable, pollux.Edge); !errors.Is(err, pollux.ErrRegistered) {
		t.Errorf("Register of the same descriptor in another source: %v, want ErrRegistered", err)
	}
	if n := q.Len(); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}

// A socket that is neither a stream nor a datagram socket is an error: reads would drop the
// part of a packet that exceeds the buffer.
func TestFromOtherType(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Skipf("this system has no SOCK_SEQPACKET: %v", err)
	}
	defer syscall.Close(fds[1])
	f := os.NewFile(uintptr(fds[0]), "seqpacket")
	defer f.Close()
	for what, from := range map[string]func() error{
		"FromUnixConn":     func() error { _, err := sock.FromUnixConn(f); return err },
		"FromUnixDatagram": func() error { _, err := sock.FromUnixDatagram(f); return err },
	} {
		if err := from(); err == nil || !strings.Contains(err.Error(), "SOCK_SEQPACKET") {
			t.Errorf("%s: %v, want an error with the socket's type", what, err)
		}
	}
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if _, err := sock.FromUnixConn(r); !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("FromUnixConn of a pipe: %v, want ENOTSOCK", err)
	}
}

// Unix sockets of package net can be converted like other sockets.
func TestFromUnix(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		network string
		from    func(*net.UnixConn) (io.ReadWriteCloser, error)
	}{
		{"unix", func(c *net.UnixConn) (io.ReadWriteCloser, error) { return sock.FromUnixConn(c) }},
		{"unixgram", func(c *net.UnixConn) (io.ReadWriteCloser, error) { return sock.FromUnixDatagram(c) }},
	} {
		path := filepath.Join(dir, c.network)
		var far *net.UnixConn
		at := &net.UnixAddr{Name: path, Net: c.network}
		if c.network == "unixgram" {
			peer, err := net.ListenUnixgram(c.network, at)
			must(t, err)
			far = peer
		}
		var l *net.UnixListener
		if far == nil {
			var err error
			l, err = net.ListenUnix(c.network, at)
			must(t, err)
			defer l.Close()
		}
		near, err := net.DialUnix(c.network, nil, at)
		must(t, err)
		if l != nil {
			far, err = l.AcceptUnix()
			must(t, err)
		}
		defer far.Close()
		s, err := c.from(near)
		must(t, err)
		must(t, near.Close())
		if _, err := s.Write([]byte("through")); err != nil {
			t.Errorf("%s: %v", c.network, err)
		}
		b := make([]byte, 16)
		far.SetReadDeadline(time.Now().Add(testkit.Watchdog))
		if n, err := far.Read(b); err != nil || string(b[:n]) != "through" {
			t.Errorf("%s: %q, %v", c.network, b[:n], err)
		}
		must(t, s.Close())
	}
}
