package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// netPair returns the two ends of a connection of package net: the accepted one and the dialed
// one.
func netPair(t testing.TB, network string) (own, peer net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(testkit.TempDir(t), "s")
	}
	ln, err := listenNet(t, network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err = dialNet(t, network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	peer.SetDeadline(time.Now().Add(testTimeout))
	own, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	return own, peer
}

// skipUnlessAttaches skips the test if the group's driver cannot serve the sockets of package net.
func skipUnlessAttaches(t testing.TB, g *loop.Group) {
	if g.Backend() == "overlapped" {
		t.Skip("this driver cannot serve the sockets of package net")
	}
}

// toStream returns the socket of a net.Conn as a stream.
func toStream(t testing.TB, c net.Conn) *sock.Stream {
	t.Helper()
	s, err := sock.FromConn(c.(syscall.Conn))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	t.Cleanup(func() { s.Close() })
	return s
}

// recorder is a handler that records its callbacks, in order.
type recorder struct {
	mu     sync.Mutex
	calls  []string
	closed chan error
	silent bool // it writes nothing
}

func newRecorder() *recorder { return &recorder{closed: make(chan error, 1)} }

func (r *recorder) add(call string) {
	r.mu.Lock()
	r.calls = append(r.calls, call)
	r.mu.Unlock()
}

func (r *recorder) Opened(*loop.Conn)       { r.add("Opened") }
func (r *recorder) ReadClosed(c *loop.Conn) { r.add("ReadClosed"); c.Close() }
func (r *recorder) Closed(_ *loop.Conn, why error) {
	r.add("Closed")
	r.closed <- why
}

func (r *recorder) Data(c *loop.Conn, b []byte) (int, error) {
	r.add(string(b))
	if r.silent {
		return len(b), nil
	}
	return c.Write(b)
}

// counted is a net.Conn of another package.
type counted struct{ tcpConn }

// L10: an attached connection begins as an accepted one, and its handler gets the bytes read
// before, and those that arrive later, in order.
func TestL10Attach(t *testing.T) {
	skipWithLayer(t, "a layer may deliver the bytes given to Attach together with later ones")
	for _, x := range []struct {
		name, network string
		attach        func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error
	}{
		{"tcp", "tcp", func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error {
			return l.Attach(c, []byte("read, "), accept)
		}},
		{"unix", "unix", func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error {
			return l.Attach(c, []byte("read, "), accept)
		}},
		{"another type", "tcp", func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error {
			return l.Attach(counted{c.(tcpConn)}, []byte("read, "), accept)
		}},
		{"the group", "tcp", func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error {
			return l.Group().Attach(c, []byte("read, "), accept)
		}},
		{"tcp stream", "tcp", func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error {
			return l.AttachStream(toStream(t, c), []byte("read, "), accept)
		}},
		{"unix stream", "unix", func(l *loop.Loop, c net.Conn, accept func(*loop.Conn) loop.Handler) error {
			return l.Group().AttachStream(toStream(t, c), []byte("read, "), accept)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.network == "unix" {
				testkit.SkipOnWine(t, "it has no Unix sockets")
			}
			g := group(t, loop.Config{Loops: 1})
			skipUnlessAttaches(t, g)
			testAttach(t, g, x.network, x.attach)
		})
	}
}

func testAttach(t *testing.T, g *loop.Group, network string, attach func(*loop.Loop, net.Conn, func(*loop.Conn) loop.Handler) error) {
	own, peer := netPair(t, network)
	io.WriteString(peer, "received")
	r, l := newRecorder(), g.Loops()[0]
	conns := make(chan *loop.Conn, 1)
	if err := attach(l, own, func(c *loop.Conn) loop.Handler {
		if err := g.Wait(); !errors.Is(err, loop.ErrOnLoop) {
			t.Errorf("accept was not called on the loop: Wait there returned %v, want ErrOnLoop", err)
		}
		conns <- c
		return r
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to the net.Conn after Attach: got %v, want ErrClosed", err)
	}
	c := receive(t, conns, "accept")
	const all = "read, received"
	b := make([]byte, len(all))
	if n, err := io.ReadFull(peer, b); string(b[:n]) != all {
		t.Fatalf("the peer read %q, %v, want the echo of %q", b[:n], err, all)
	}
	if network == "tcp" && c.RemoteAddr().String() != peer.LocalAddr().String() {
		t.Errorf("RemoteAddr = %v, want %v", c.RemoteAddr(), peer.LocalAddr())
	}
	if n := g.Conns(); n != 1 {
		t.Errorf("Conns = %d, want 1", n)
	}
	if s := g.Stats().Loops[0]; s.Attached != 1 || s.Accepts != 0 || s.Conns != 1 || s.BytesIn != uint64(len("received")) {
		t.Errorf("Stats: got %d attached, %d accepted, %d open, %d bytes in; want 1, 0, 1, %d", s.Attached, s.Accepts, s.Conns, s.BytesIn, len("received"))
	}
	peer.(interface{ CloseWrite() error }).CloseWrite()
	if n, err := peer.Read(b); n != 0 || err != io.EOF {
		t.Errorf("after FIN the peer read %q, %v, want EOF", b[:n], err)
	}
	if why := receive(t, r.closed, "Closed"); why != nil {
		t.Errorf("Closed got %v, want nil", why)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.calls, ""); len(r.calls) < 5 || r.calls[0] != "Opened" || r.calls[1] != "read, " || !strings.HasSuffix(got, "receivedReadClosedClosed") {
		t.Errorf("the callbacks were %s, want Opened, Data with read, then with received, ReadClosed and Closed", got)
	}
}

// L10, L3b: a connection that the peer has closed or reset before Attach gets all bytes, then the end.
func TestL10AttachEnded(t *testing.T) {
	skipWithLayer(t, "a layer may deliver the bytes given to Attach together with later ones")
	for _, x := range []struct {
		name string
		end  func(own, peer tcpConn)
		want error // the reason for Closed
		last string
	}{
		{"closed", func(_, peer tcpConn) { peer.Close() }, nil, "ReadClosedClosed"},
		{"half-closed by both", func(own, peer tcpConn) { own.CloseWrite(); peer.CloseWrite() }, nil, "ReadClosedClosed"},
		{"reset", func(_, peer tcpConn) { peer.SetLinger(0); peer.Close() }, syscall.ECONNRESET, "Closed"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.want != nil {
				testkit.SkipOnWine(t, "a reset is reported only once there, to the first poll")
			}
			g := group(t, loop.Config{Loops: 1})
			skipUnlessAttaches(t, g)
			own, peer := netPair(t, "tcp")
			io.WriteString(peer, "received")
			x.end(own.(tcpConn), peer.(tcpConn))
			r := &recorder{closed: make(chan error, 1), silent: true}
			address := make(chan net.Addr, 1)
			if err := g.Attach(own, []byte("read, "), func(c *loop.Conn) loop.Handler {
				address <- c.RemoteAddr()
				return r
			}); err != nil {
				t.Fatal(err)
			}
			if a := receive(t, address, "accept"); a == nil || a.String() != peer.LocalAddr().String() {
				t.Errorf("RemoteAddr = %v, want %v", a, peer.LocalAddr())
			}
			if why := receive(t, r.closed, "Closed"); !errors.Is(why, x.want) {
				t.Errorf("Closed got %v, want %v", why, x.want)
			}
			if got := strings.Join(r.calls, ""); r.calls[1] != "read, " || got != "Openedread, received"+x.last {
				t.Errorf("the callbacks were %q, want Opened, Data with read, then with received, then %s", r.calls, x.last)
			}
		})
	}
}

// L10: the loop knows the address of an attached connection that is reset later.
func TestL10AttachResetLater(t *testing.T) {
	testkit.SkipOnWine(t, "a reset is reported only once there, to the first poll")
	g := group(t, loop.Config{Loops: 1})
	skipUnlessAttaches(t, g)
	own, peer := netPair(t, "tcp")
	address := make(chan net.Addr, 1)
	if err := g.Attach(own, nil, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
			closed: func(c *loop.Conn, _ error) { address <- c.RemoteAddr() },
		}
	}); err != nil {
		t.Fatal(err)
	}
	ping(t, peer)
	peer.(tcpConn).SetLinger(0)
	peer.Close()
	if a := receive(t, address, "Closed"); a == nil || a.String() != peer.LocalAddr().String() {
		t.Errorf("RemoteAddr in Closed = %v, want %v", a, peer.LocalAddr())
	}
}

// L10: if Attach returns an error, nothing has changed, and the caller still has the connection.
func TestL10AttachFails(t *testing.T) {
	testkit.CheckLeaks(t)
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	never := func(*loop.Conn) loop.Handler { t.Error("accept was called after an error"); return nil }
	g := group(t, loop.Config{Loops: 1, MaxConns: 1})
	skipUnlessAttaches(t, g)
	l := g.Loops()[0]
	check := func(what string, err, want error, text string) {
		t.Helper()
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "attach" || !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want a net.OpError of attach with %v and %q", what, err, want, text)
		}
	}
	own, peer := netPair(t, "tcp")
	check("no connection", l.Attach(nil, nil, never), loop.ErrBadArgument, "needed")
	check("a nil connection", l.Attach((*net.TCPConn)(nil), nil, never), loop.ErrBadArgument, "needed")
	check("no stream", l.AttachStream(nil, nil, never), loop.ErrBadArgument, "needed")
	check("no accept", g.Attach(own, nil, nil), loop.ErrBadArgument, "needed")
	check("TLS", l.Attach(tls.Client(own, &tls.Config{ServerName: "x"}), nil, never), errors.ErrUnsupported, "*tls.Conn has no socket")
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	check("a pipe", l.Attach(a, nil, never), errors.ErrUnsupported, "no socket")
	closed, _ := netPair(t, "tcp")
	closed.Close()
	check("a closed connection", l.Attach(closed, nil, never), loop.ErrClosed, "")
	if !sys.OnWine() { // package net's UDP does not work there
		u, err := dialNet(t, "udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		check("UDP", l.Attach(u, nil, never), loop.ErrBadArgument, "SOCK_DGRAM")
		if _, err := u.Write([]byte("x")); err != nil {
			t.Errorf("UDP after Attach has failed: %v", err)
		}
	}

	check("an option for listeners", l.Attach(own, nil, never, sock.NoDelay(false), sock.Backlog(1)), loop.ErrBadArgument, "Backlog")
	first, firstPeer := netPair(t, "tcp")
	if err := l.Attach(first, nil, echoes); err != nil {
		t.Fatal(err)
	}
	ping(t, firstPeer)
	check("above MaxConns", l.Attach(own, []byte("x"), never), loop.ErrTooManyConns, own.RemoteAddr().String())
	s := toStream(t, mustDup(t, own))
	check("a stream above MaxConns", l.AttachStream(s, nil, never), loop.ErrTooManyConns, "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Shutdown(ctx)
	check("after Shutdown", g.Attach(own, nil, never), loop.ErrClosed, "shut down")
	check("a stream after Shutdown", g.AttachStream(s, nil, never), loop.ErrClosed, "shut down")
	if n, load := g.Conns(), g.Stats().Loops[0].Conns; n != 0 || load != 0 {
		t.Errorf("after Shutdown the group counts %d connections, and its loop %d, want 0", n, load)
	}
	if _, err := s.Write([]byte("intact,")); err != nil {
		t.Errorf("the stream after errors: %v", err)
	}
	own.Write([]byte(" all"))
	got := make([]byte, 11)
	if n, err := io.ReadFull(peer, got); string(got[:n]) != "intact, all" {
		t.Errorf("after errors the peer read %q, %v, want what was written", got[:n], err)
	}
}

// L10: Attach sets the options that it is given, and no others, except that it turns SO_LINGER off:
// with it, closing could block the loop.
func TestL10AttachOptions(t *testing.T) {
	skipWithLayer(t, needsDetach)
	g := group(t, loop.Config{Loops: 1})
	skipUnlessAttaches(t, g)
	own, _ := netPair(t, "tcp")
	tcp := own.(tcpConn)
	tcp.SetKeepAlive(false)
	tcp.SetLinger(3600)
	streams := make(chan *sock.Stream, 1)
	if err := g.Attach(own, nil, func(c *loop.Conn) loop.Handler {
		c.DetachStream(func(s *sock.Stream, _ []byte, _ error) { streams <- s })
		return nil
	}, sock.NoDelay(false)); err != nil {
		t.Fatal(err)
	}
	s := receive(t, streams, "the stream")
	defer s.Close()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, o := range []struct {
			name          string
			level, option int
		}{
			{"TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY},
			{"SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE},
		} {
			v, e := sys.GetInt(sys.FD(fd), o.level, o.option)
			if v != 0 && e == 0 {
				t.Errorf("%s is %d, want 0", o.name, v)
			}
		}
		if lingers(sys.FD(fd)) {
			t.Error("SO_LINGER is on, want off")
		}
	})
}

// mustDup returns a duplicate of c.
func mustDup(t testing.TB, c net.Conn) net.Conn {
	t.Helper()
	s, err := sock.FromConn(c.(tcpConn))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := s.NetConn()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// L10: a driver that binds sockets to itself does not get those of package net, nor their
// duplicates, but those of package sock.
func TestL10AttachUnsupported(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	l := g.Loops()[0]
	l.BindStreams()
	own, peer := netPair(t, "tcp")
	echoes := func(*loop.Conn) loop.Handler { return echo{} }
	if err := l.Attach(own, nil, echoes); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "Backend") {
		t.Errorf("Attach: got %v, want ErrUnsupported and what to do", err)
	}
	s := toStream(t, own)
	if err := l.AttachStream(s, nil, echoes); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("AttachStream of a duplicate: got %v, want ErrUnsupported", err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Errorf("writing after the errors: %v", err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 1 {
		t.Errorf("the peer read nothing after the errors: %v", err)
	}
	ln, err := listenNet(t, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	made, err := sock.ConnectTCP(ln.Addr().(*net.TCPAddr).AddrPort(), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if !testkit.Eventually(func() bool { return !errors.Is(made.ConnectError(), sock.ErrWouldBlock) }) {
		t.Fatal("connecting does not end")
	}
	if err := l.AttachStream(&made.Stream, nil, echoes); err != nil {
		t.Fatal(err)
	}
	ping(t, other)
}

// L10: a stream that something else uses is not attached, and stays as it is.
func TestL10AttachStreamInUse(t *testing.T) {
	never := func(*loop.Conn) loop.Handler { t.Error("accept was called after an error"); return nil }
	g := group(t, loop.Config{Loops: 2})
	skipUnlessAttaches(t, g)
	l := g.Loops()[0]
	own, peer := netPair(t, "tcp")
	s := toStream(t, own)
	for i, watching := range g.Loops() { // this loop, and another one
		w, err := watching.Watch(context.Background(), s, pollux.Readable|pollux.Writable, func(pollux.Event) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.AttachStream(s, nil, never); !errors.Is(err, pollux.ErrOtherPoll) {
			t.Errorf("a stream watched by loop %d: got %v, want ErrOtherPoll", i, err)
		}
		stopped := make(chan bool)
		w.Stop(func() { close(stopped) })
		receive(t, stopped, "Stop")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(uintptr) {
		if err := l.AttachStream(s, nil, never); !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), "in progress") {
			t.Errorf("a stream in a call: got %v, want ErrBadArgument", err)
		}
	})
	pending, err := sock.ConnectTCP(peer.LocalAddr().(*net.TCPAddr).AddrPort(), onNet(t)...) // nothing listens there
	if err == nil {
		defer pending.Close()
		if err := l.AttachStream(&pending.Stream, nil, never); err == nil {
			t.Error("a stream that is not connected was attached")
		}
	}
	if err := l.AttachStream(s, nil, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		t.Fatal(err)
	}
	ping(t, peer)
	if err := l.AttachStream(s, nil, never); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("the same stream again: got %v, want ErrClosed", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("writing to an attached stream: got %v, want ErrClosed", err)
	}
}

// L10: without a descriptor for the duplicate, Attach returns EMFILE, and works afterwards.
func TestL10AttachOutOfDescriptors(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	own, peer := netPair(t, "tcp")
	restore := limitDescriptors(t, 0)
	err := g.Attach(own, []byte("x"), func(*loop.Conn) loop.Handler { return echo{} })
	restore()
	if !sys.IsResourceError(err) {
		t.Errorf("Attach without descriptors: got %v, want EMFILE", err)
	}
	if err := g.Attach(own, nil, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		t.Fatal(err)
	}
	ping(t, peer)
}

// attachedUnread is longer than MaxUnreadBytes of attachingGroup.
var attachedUnread = strings.Repeat("0123456789", 1000)

func attachingGroup(t *testing.T) *loop.Group {
	t.Helper()
	g := group(t, loop.Config{Loops: 1, MaxUnreadBytes: 1000, Logger: quiet()})
	skipUnlessAttaches(t, g)
	return g
}

// attachUnread attaches a connection with attachedUnread, which its peer continues with "more".
func attachUnread(t *testing.T, g *loop.Group, accept func(*loop.Conn) loop.Handler) net.Conn {
	t.Helper()
	own, peer := netPair(t, "tcp")
	io.WriteString(peer, "more")
	b := []byte(attachedUnread)
	if err := g.Attach(own, b, accept); err != nil {
		t.Fatal(err)
	}
	clear(b) // Attach has copied it
	return peer
}

// gather returns a Data that sends everything to all when it has n bytes.
func gather(all chan<- string, n int) func(*loop.Conn, []byte) (int, error) {
	var got []byte
	return func(_ *loop.Conn, b []byte) (int, error) {
		if got = append(got, b...); len(got) >= n {
			all <- string(got)
		}
		return len(b), nil
	}
}

// L10: accept and Opened of an attached connection may do what those of an accepted one may, and
// unread bytes are treated as received ones.
func TestL10AttachCallbacks(t *testing.T) {
	skipWithLayer(t, needsDetach)
	g := attachingGroup(t)
	whole := attachedUnread + "more"
	t.Run("Pause", func(t *testing.T) {
		all, conns := make(chan string, 1), make(chan *loop.Conn, 1)
		attachUnread(t, g, func(*loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) { c.Pause(); conns <- c }, data: gather(all, len(whole))}
		})
		c := receive(t, conns, "Opened")
		turn := make(chan bool)
		c.Loop().Run(func() { close(turn) })
		receive(t, turn, "another turn")
		if len(all) > 0 {
			t.Error("Data was called while the connection was paused")
		}
		c.Resume()
		if got := receive(t, all, "Data"); got != whole {
			t.Errorf("after Resume Data got %d bytes, want the %d unread ones and what followed, in order", len(got), len(attachedUnread))
		}
	})
	t.Run("SetHandler", func(t *testing.T) {
		all := make(chan string, 1)
		second := &funcs{data: gather(all, len(whole))}
		attachUnread(t, g, func(*loop.Conn) loop.Handler {
			return &funcs{
				opened: func(c *loop.Conn) { c.SetHandler(second) },
				data:   func(*loop.Conn, []byte) (int, error) { t.Error("the first handler got Data"); return 0, nil },
			}
		})
		if got := receive(t, all, "Data"); got != whole {
			t.Errorf("the second handler got %d bytes, want %d", len(got), len(whole))
		}
	})
	t.Run("Detach", func(t *testing.T) {
		streams, rest := make(chan *sock.Stream, 1), make(chan string, 1)
		attachUnread(t, g, func(*loop.Conn) loop.Handler {
			return &funcs{opened: func(c *loop.Conn) {
				c.DetachStream(func(s *sock.Stream, unread []byte, err error) { streams <- s; rest <- string(unread) })
			}}
		})
		s := receive(t, streams, "the stream")
		defer s.Close()
		b := make([]byte, 10)
		n, _ := s.Read(b) // on a driver that has received nothing yet
		if got := receive(t, rest, "unread bytes") + string(b[:n]); got != whole {
			t.Errorf("Detach in Opened returned %d bytes, want %d", len(got), len(whole))
		}
	})
	t.Run("Detach without a handler", func(t *testing.T) {
		rest := make(chan string, 1)
		attachUnread(t, g, func(c *loop.Conn) loop.Handler {
			c.DetachStream(func(s *sock.Stream, unread []byte, err error) { s.Close(); rest <- string(unread) })
			return nil
		})
		if got := receive(t, rest, "unread bytes"); !strings.HasPrefix(got, attachedUnread) {
			t.Errorf("Detach in accept returned %d bytes, want those given to Attach", len(got))
		}
	})
	if !testkit.Eventually(func() bool { return g.Conns() <= 2 }) { // those of Pause and SetHandler
		t.Errorf("%d connections are left, want 2", g.Conns())
	}
}

// L10: an attached connection that gets no handler, or leaves more than MaxUnreadBytes, is closed.
func TestL10AttachedConnectionsAreClosed(t *testing.T) {
	g := attachingGroup(t)
	t.Run("no handler", func(t *testing.T) {
		peer := attachUnread(t, g, func(*loop.Conn) loop.Handler { return nil })
		if n, err := io.Copy(io.Discard, peer); n != 0 {
			t.Errorf("the peer read %d bytes, %v, want the end", n, err)
		}
	})
	t.Run("panic", func(t *testing.T) {
		peer := attachUnread(t, g, func(*loop.Conn) loop.Handler { panic("no") })
		if n, err := io.Copy(io.Discard, peer); n != 0 {
			t.Errorf("the peer read %d bytes, %v, want the end", n, err)
		}
	})
	t.Run("a message longer than MaxUnreadBytes", func(t *testing.T) {
		closed := make(chan error, 1)
		peer := attachUnread(t, g, func(*loop.Conn) loop.Handler {
			return &funcs{
				data:   func(*loop.Conn, []byte) (int, error) { return 0, nil },
				closed: func(_ *loop.Conn, why error) { closed <- why },
			}
		})
		peer.Close() // or the loop waits for it
		if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrUnreadFull) {
			t.Errorf("Closed got %v, want ErrUnreadFull", why)
		}
	})
	if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
		t.Errorf("%d connections are left, want none", g.Conns())
	}
}

// L10: a connection whose loop ends before it has begun with it is closed, and accept is not
// called.
func TestL10AttachToLoopThatFails(t *testing.T) {
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 1, Logger: failOnLog(t, "a loop has failed")})
	skipUnlessAttaches(t, g)
	own, peer := netPair(t, "tcp")
	stream, streamPeer := netPair(t, "tcp")
	s := toStream(t, stream)
	failure := errors.New("the driver has failed")
	never := func(*loop.Conn) loop.Handler { t.Error("accept was called"); return nil }
	g.Loops()[0].Run(func() {
		if err := g.Attach(own, []byte("x"), never); err != nil {
			t.Errorf("Attach on the loop: %v", err)
		}
		if err := g.AttachStream(s, []byte("x"), never); err != nil {
			t.Errorf("AttachStream on the loop: %v", err)
		}
		drivers()[0].Fail(failure)
	})
	for _, p := range []net.Conn{peer, streamPeer} {
		if n, err := p.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the peer read %d bytes, %v, want the end", n, err)
		}
	}
	if err := g.Wait(); !errors.Is(err, failure) {
		t.Errorf("Wait: got %v, want the failure", err)
	}
	if n := g.Conns(); n != 0 {
		t.Errorf("Conns = %d, want 0", n)
	}
	other, _ := netPair(t, "tcp")
	if err := g.Attach(other, nil, never); !errors.Is(err, loop.ErrClosed) || !errors.Is(err, failure) {
		t.Errorf("Attach to a loop that has failed: got %v, want ErrClosed and the failure", err)
	}
}

// L10: a connection that the driver cannot serve is closed, which is logged, and accept is not called.
func TestL10AttachRefusedByDriver(t *testing.T) {
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	skipUnlessAttaches(t, g)
	drivers()[0].Refuse(syscall.ENOMEM)
	own, peer := netPair(t, "tcp")
	if err := g.Attach(own, []byte("x"), func(*loop.Conn) loop.Handler { t.Error("accept was called"); return nil }); err != nil {
		t.Fatal(err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the peer read %d bytes, %v, want the end", n, err)
	}
	if err := g.Shutdown(context.Background()); err != nil { // the loop has done everything
		t.Error(err)
	}
	if n, load := g.Conns(), g.Stats().Loops[0].Conns; n != 0 || load != 0 {
		t.Errorf("the group counts %d connections, and its loop %d, want 0", n, load)
	}
	if s := log.String(); !strings.Contains(s, "could not attach") || strings.Count(s, "\n") != 1 {
		t.Errorf("the log is %q, want one record of the refusal", s)
	}
}

// L10: Attach does not wait for a loop that is in a callback.
func TestL10AttachDoesNotWait(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1})
	skipUnlessAttaches(t, g)
	until := make(chan bool)
	g.Loops()[0].Run(func() { <-until })
	own, peer := netPair(t, "tcp")
	if err := g.Attach(own, nil, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		t.Error(err)
	}
	close(until)
	ping(t, peer)
}

// An accept function that blocks its loop is named in the log, as a listener's is.
func TestSlowAcceptOfAttach(t *testing.T) {
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 1, SlowCallback: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	skipUnlessAttaches(t, g)
	own, peer := netPair(t, "tcp")
	blocking := make(chan bool)
	if err := g.Attach(own, nil, func(*loop.Conn) loop.Handler { <-blocking; return echo{} }); err != nil {
		t.Fatal(err)
	}
	if !testkit.Eventually(func() bool {
		s := log.String()
		return strings.Contains(s, "blocks its loop") && strings.Contains(s, own.RemoteAddr().String()) && strings.Contains(s, "TestSlowAcceptOfAttach")
	}) {
		t.Errorf("the log is %q, want a record with the function and the address", log.String())
	}
	close(blocking)
	ping(t, peer)
}

// L10, L8: of connections that are attached while the group shuts down, each belongs to the group,
// which closes it, or to the caller.
func TestL10AttachDuringShutdown(t *testing.T) {
	testkit.CheckLeaks(t)
	skipUnlessAttaches(t, group(t, loop.Config{Loops: 1}))
	var attached, refused int
	for range 30 {
		g, err := newGroup(t, loop.Config{Loops: 2, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		const each = 4
		var all sync.WaitGroup
		var accepted atomic.Int32
		results := make(chan error, 2*each)
		accept := func(c *loop.Conn) loop.Handler {
			accepted.Add(1)
			return echo{}
		}
		for range each {
			own, peer := netPair(t, "tcp")
			stream, streamPeer := netPair(t, "tcp")
			s := toStream(t, stream)
			all.Go(func() {
				err := g.Attach(own, []byte("x"), accept)
				results <- err
				if _, werr := own.Write([]byte("x")); (err == nil) != errors.Is(werr, net.ErrClosed) {
					t.Errorf("Attach: %v; then writing to the net.Conn: %v", err, werr)
				}
				own.Close()
				err = g.AttachStream(s, []byte("x"), accept)
				results <- err
				if _, werr := s.Write([]byte("x")); (err == nil) != errors.Is(werr, sock.ErrClosed) {
					t.Errorf("AttachStream: %v; then writing to the stream: %v", err, werr)
				}
				s.Close()
				for _, p := range []net.Conn{peer, streamPeer} { // both ends are closed
					if _, err := io.Copy(io.Discard, p); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("a connection was not closed")
					}
					p.Close()
				}
			})
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.Shutdown(ctx)
		all.Wait()
		close(results)
		owned := 0
		for err := range results {
			if err == nil {
				owned++
			} else if !errors.Is(err, loop.ErrClosed) {
				t.Errorf("Attach: got %v, want nil or ErrClosed", err)
			}
		}
		if n := int(accepted.Load()); n > owned || g.Conns() != 0 {
			t.Errorf("accept was called %d times for %d connections; %d are left, want 0", n, owned, g.Conns())
		}
		attached += owned
		refused += 2*each - owned
	}
	t.Logf("%d attached, %d refused", attached, refused)
}

// L4: reading of an attached connection stops while much is unsent, as that of an accepted one.
func TestL4Attached(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	skipUnlessAttaches(t, g)
	own, peer := netPair(t, "tcp")
	const size = 32 << 20
	calls, first := make(chan string, 10), make(chan bool, 1)
	if err := g.Attach(own, []byte("1"), func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				calls <- string(b)
				if string(b) == "1" {
					c.Write(make([]byte, size))
					first <- true
				}
				return len(b), nil
			},
			drained: func(*loop.Conn) { calls <- "Drained" },
		}
	}); err != nil {
		t.Fatal(err)
	}
	receive(t, first, "Data")
	io.WriteString(peer, "2")
	for range 10 { // turns in which Data would be called
		turn := make(chan bool)
		g.Loops()[0].Run(func() { close(turn) })
		receive(t, turn, "a turn")
	}
	if _, err := io.ReadFull(peer, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "Drained", "2"} {
		if got := receive(t, calls, want); got != want {
			t.Fatalf("the next callback was %s, want %s", got, want)
		}
	}
}
