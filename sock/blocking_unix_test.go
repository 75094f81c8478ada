//go:build unix

package sock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// A descriptor has the methods of all types of package sock that these tests need.
type descriptor interface {
	pollux.Source
	syscall.Conn
	io.Closer
	File() (*os.File, error)
}

// blocks reports whether d is in blocking mode.
func blocks(t *testing.T, d syscall.Conn) bool {
	t.Helper()
	raw, err := d.SyscallConn()
	must(t, err)
	var flags uintptr
	var e syscall.Errno
	must(t, raw.Control(func(fd uintptr) {
		flags, _, e = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	}))
	if e != 0 {
		t.Fatal(e)
	}
	return flags&syscall.O_NONBLOCK == 0
}

// A switcher duplicates d and switches the duplicate to blocking mode.
type switcher func(t *testing.T, d descriptor)

// switchers are the ways in which a descriptor becomes blocking. The value passed to FromTCPListener and
// similar functions is a duplicate, too: see TestCallsOnAdoptedNeverBlock.
var switchers = map[string]switcher{
	"child": func(t *testing.T, d descriptor) {
		f, err := d.File()
		must(t, err)
		defer f.Close()
		passToChild(t, f)
	},
	"File": func(t *testing.T, d descriptor) {
		f, err := d.File()
		must(t, err)
		t.Cleanup(func() { f.Close() })
		must(t, syscall.SetNonblock(int(f.Fd()), false))
	},
	"SyscallConn": func(t *testing.T, d descriptor) {
		raw, err := d.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) {
			dup, err := syscall.Dup(int(fd))
			must(t, err)
			t.Cleanup(func() { syscall.Close(dup) })
			must(t, syscall.SetNonblock(dup, false))
		}))
	},
}

const inheritsEnv = "POLLUX_TEST_INHERITS"

// passToChild starts a program that inherits f, as graceful restarts do. For files of
// package net that switches f to blocking; for other files the child does so.
func passToChild(t *testing.T, f *os.File) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestInherited$")
	child.ExtraFiles = []*os.File{f}
	child.Env = append(os.Environ(), inheritsEnv+"=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestInherited is the test that passToChild runs in the child.
func TestInherited(t *testing.T) {
	if os.Getenv(inheritsEnv) == "" {
		t.Skip("skipped: runs only in the children of other tests")
	}
	must(t, syscall.SetNonblock(3, false))
}

// A subject is a descriptor that is not ready, with all calls on it that would block.
type subject struct {
	d     descriptor
	calls map[string]func() error
}

func of(call func([]byte) (int, error), b []byte) func() error {
	return func() error { _, err := call(b); return err }
}

// fill writes until the call would block.
func fill(write func([]byte) (int, error), b []byte) func() error {
	return func() (err error) {
		for err == nil {
			_, err = write(b)
		}
		return err
	}
}

// streamCalls returns the calls of a stream whose peer neither sends nor reads.
func streamCalls(s *sock.Stream) map[string]func() error {
	b, big := make([]byte, 100), make([]byte, 300<<10)
	return map[string]func() error{
		"Read":        of(s.Read, b),
		"Read big":    of(s.Read, big),
		"Peek":        of(s.Peek, b),
		"Readv":       func() error { _, err := s.Readv([][]byte{b, big}); return err },
		"Write":       fill(s.Write, big),
		"Write small": fill(s.Write, b),
		"Writev":      fill(func(b []byte) (int, error) { return s.Writev([][]byte{b, big}) }, b),
	}
}

// subjects returns a subject of each kind. Its calls must work in any order, also those
// that fill a buffer.
func subjects(t *testing.T) map[string]subject {
	all := map[string]subject{}
	b := make([]byte, 100)
	add := func(name string, d descriptor, calls map[string]func() error) {
		t.Cleanup(func() { d.Close() })
		all[name] = subject{d, calls}
	}
	tcp, _ := tcpPair(t, loopback4)
	add("TCP stream", tcp, streamCalls(&tcp.Stream))
	unix, peer, err := sock.UnixPair()
	must(t, err)
	t.Cleanup(func() { peer.Close() })
	add("Unix stream", unix, streamCalls(&unix.Stream))

	tl, err := sock.ListenTCP(loopback4)
	must(t, err)
	add("TCP listener", tl, map[string]func() error{"Accept": func() error { _, err := tl.Accept(); return err }})
	ul, err := sock.ListenUnix(filepath.Join(t.TempDir(), "l"))
	must(t, err)
	add("Unix listener", ul, map[string]func() error{"Accept": func() error { _, err := ul.Accept(); return err }})

	udp, err := sock.ListenUDP(loopback4)
	must(t, err)
	add("UDP", udp, map[string]func() error{
		"Read":      of(udp.Read, b),
		"ReadFrom":  func() error { _, _, err := udp.ReadFrom(b); return err },
		"ReadBatch": func() error { _, err := udp.ReadBatch([]sock.Message{{Data: b}, {Data: b}}); return err },
	})
	dgram, deaf, err := sock.UnixDatagramPair()
	must(t, err)
	t.Cleanup(func() { deaf.Close() })
	add("Unix datagram", dgram, map[string]func() error{
		"Read":     of(dgram.Read, b),
		"ReadFrom": func() error { _, _, err := dgram.ReadFrom(b); return err },
		"Write":    fill(dgram.Write, b),
	})
	addPipes(t, add)
	return all
}

func addPipes(t *testing.T, add func(string, descriptor, map[string]func() error)) {
	b, big := make([]byte, 100), make([]byte, 300<<10)
	var ends []io.Closer // the other ends
	r, w := pipe(t)
	add("pipe reader", r, map[string]func() error{"Read": of(r.Read, b)})
	ends = append(ends, w)
	r, w = pipe(t)
	add("pipe writer", w, map[string]func() error{"Write": fill(w.Write, big)})
	ends = append(ends, r)
	r, w = pipe(t)
	fr := foreign(t, r)
	add("foreign pipe, read", fr, map[string]func() error{"Read": of(fr.Read, b)})
	ends = append(ends, w)
	r, w = pipe(t)
	fw := foreign(t, w)
	add("foreign pipe, written", fw, map[string]func() error{"Write": fill(fw.Write, big)})
	ends = append(ends, r)
	t.Cleanup(func() {
		for _, e := range ends {
			e.Close()
		}
	})
	stream, peer, err := sock.UnixPair()
	must(t, err)
	t.Cleanup(func() { peer.Close() })
	fs := foreign(t, stream)
	add("foreign socket", fs, map[string]func() error{"Read": of(fs.Read, b), "Write": fill(fs.Write, big)})
}

func pipe(t *testing.T) (*sock.PipeReader, *sock.PipeWriter) {
	t.Helper()
	r, w, err := sock.Pipe()
	must(t, err)
	return r, w
}

// foreign returns an FD with d's descriptor.
func foreign(t *testing.T, d interface{ Detach() (uintptr, error) }) *sock.FD {
	t.Helper()
	fd, err := d.Detach()
	must(t, err)
	f, err := sock.FromFD(fd)
	must(t, err)
	return f
}

// No call blocks, though a duplicate has been switched to blocking. A call that blocks would
// stop its loop, and the whole process at the next garbage collection.
func TestCallsNeverBlock(t *testing.T) {
	for name, makeBlocking := range switchers {
		t.Run(name, func(t *testing.T) {
			if !testkit.InChild(t) {
				return
			}
			for what, s := range subjects(t) {
				for call, f := range s.calls {
					makeBlocking(t, s.d)
					if !blocks(t, s.d) {
						t.Fatalf("%s: the descriptor was not switched to blocking", what)
					}
					t.Logf("%s of %s", call, what)
					if err := f(); !errors.Is(err, sock.ErrWouldBlock) {
						t.Errorf("%s of %s: %v, want ErrWouldBlock", call, what, err)
					}
				}
			}
		})
	}
}

// Sending datagrams and batches does not block either: if the queue is full and not drained,
// the error is ErrWouldBlock.
func TestDatagramsNeverBlock(t *testing.T) {
	if !testkit.InChild(t) {
		return
	}
	name := filepath.Join(t.TempDir(), "deaf")
	deaf, err := sock.ListenUnixDatagram(name)
	must(t, err)
	defer deaf.Close()
	from, err := sock.ConnectUnixDatagram(name)
	must(t, err)
	defer from.Close()
	switchers["File"](t, from)
	for err == nil {
		_, err = from.WriteTo(make([]byte, 100), name)
	}
	if !errors.Is(err, sock.ErrWouldBlock) {
		t.Errorf("WriteTo: %v", err)
	}
	udp, err := sock.ListenUDP(loopback4)
	must(t, err)
	defer udp.Close()
	switchers["File"](t, udp)
	if n, err := udp.WriteBatch([]sock.Message{{Data: []byte("a"), Addr: udp.LocalAddr()}}); n != 1 || err != nil {
		t.Errorf("WriteBatch: %d, %v", n, err)
	}
	switchers["File"](t, udp)
	ms := []sock.Message{{Data: make([]byte, 8)}, {Data: make([]byte, 8)}}
	if n, err := udp.ReadBatch(ms); n != 1 || err != nil {
		t.Errorf("ReadBatch: %d, %v", n, err)
	}
}

// A socket from FromTCPListener and the like shares the blocking mode with its original.
func TestCallsOnAdoptedNeverBlock(t *testing.T) {
	if !testkit.InChild(t) {
		return
	}
	tl, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ul, err := net.Listen("unix", filepath.Join(t.TempDir(), "l"))
	must(t, err)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	conn, err := net.Dial("tcp", tl.Addr().String())
	must(t, err)
	accepted, err := tl.Accept()
	must(t, err)
	b := make([]byte, 10)
	check := func(what string, source interface{ File() (*os.File, error) }, adopted descriptor, call func() error) {
		defer adopted.Close()
		f, err := source.File()
		must(t, err)
		defer f.Close()
		passToChild(t, f)
		if !blocks(t, adopted) {
			t.Fatalf("%s: the descriptor was not switched to blocking", what)
		}
		t.Logf("call on %s", what)
		if err := call(); !errors.Is(err, sock.ErrWouldBlock) {
			t.Errorf("%s: %v, want ErrWouldBlock", what, err)
		}
	}
	a, err := sock.FromTCPListener(tl.(*net.TCPListener))
	must(t, err)
	check("TCP listener", tl.(*net.TCPListener), a, func() error { _, err := a.Accept(); return err })
	u, err := sock.FromUnixListener(ul.(*net.UnixListener))
	must(t, err)
	check("Unix listener", ul.(*net.UnixListener), u, func() error { _, err := u.Accept(); return err })
	p, err := sock.FromUDPConn(udp.(*net.UDPConn))
	must(t, err)
	check("UDP socket", udp.(*net.UDPConn), p, of(p.Read, b))
	s, err := sock.FromTCPConn(conn.(*net.TCPConn))
	must(t, err)
	check("TCP stream", conn.(*net.TCPConn), s, of(s.Read, b))
	for _, c := range []io.Closer{tl, ul, udp, conn, accepted} {
		c.Close()
	}
}

// A listener that was switched to blocking still accepts connections, and Accept makes it
// non-blocking again: another process may have accepted the connection in between.
func TestAcceptAfterSwitch(t *testing.T) {
	if !testkit.InChild(t) {
		return
	}
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	defer l.Close()
	switchers["File"](t, l)
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	var s *sock.TCPStream
	must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
	defer s.Close()
	if blocks(t, l) {
		t.Error("the listener still blocks")
	}
	if blocks(t, s) {
		t.Error("the accepted connection blocks")
	}
}

// If Control switches the new socket to blocking, that is undone: neither connecting nor
// accepting blocks.
func TestControlThatSwitchesToBlocking(t *testing.T) {
	if !testkit.InChild(t) {
		return
	}
	var dups []int
	defer func() {
		for _, d := range dups {
			syscall.Close(d)
		}
	}()
	sloppy := sock.Control(func(fd uintptr) error {
		dup, err := syscall.Dup(int(fd))
		if err != nil {
			return err
		}
		dups = append(dups, dup)
		return syscall.SetNonblock(int(fd), false)
	})
	l, err := sock.ListenTCP(loopback4, sloppy, sock.Backlog(1))
	must(t, err)
	defer l.Close()
	must(t, syscall.SetNonblock(dups[0], false)) // by the duplicate, later
	if _, err := l.Accept(); !errors.Is(err, sock.ErrWouldBlock) {
		t.Errorf("Accept: %v", err)
	}
	c, err := sock.ConnectTCP(l.Addr(), sloppy)
	must(t, err)
	defer c.Close()
	if blocks(t, c) {
		t.Error("the socket was blocking when it was connected")
	}
}
