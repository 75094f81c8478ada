package simnet_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// host is a sock.Network.
type host struct {
	handle.Hosted
	*simnet.Host
}

var _ sock.Network = (*host)(nil)

// newHosts returns hosts whose descriptors must be closed at the end of the test.
func newHosts(t *testing.T, count int) []*host {
	n := simnet.New(simnet.Config{})
	t.Cleanup(n.Close)
	hosts := make([]*host, count)
	for i := range hosts {
		h := &host{Host: n.Host()}
		handle.SetKernel(&h.Hosted, h.Host)
		hosts[i] = h
		t.Cleanup(func() {
			if k := h.Descriptors(); k != 0 {
				t.Errorf("%d descriptors of %v are open", k, h.Host)
			}
		})
	}
	return hosts
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Package sock works on simulated hosts, without a change.
func TestTCPByPackageSock(t *testing.T) {
	hosts := newHosts(t, 2)
	a, b := hosts[0], hosts[1]
	l := must[*sock.TCPListener](t)(sock.ListenTCP(netip.AddrPortFrom(b.Addr(), 0), sock.OnNetwork(b), sock.ReadBuffer(10_000)))
	defer l.Close()
	if _, err := l.Accept(); !errors.Is(err, sock.ErrWouldBlock) {
		t.Errorf("Accept: %v, want ErrWouldBlock", err)
	}
	c := must[*sock.TCPStream](t)(sock.ConnectTCP(l.Addr(), sock.OnNetwork(a)))
	defer c.Close()
	if err := c.ConnectError(); err != nil {
		t.Fatal(err)
	}
	s := must[*sock.TCPStream](t)(l.Accept())
	defer s.Close()
	if s.RemoteAddr() != c.LocalAddr() || c.RemoteAddr() != l.Addr() || c.LocalAddr().Addr() != a.Addr() {
		t.Errorf("addresses: %v to %v, accepted from %v", c.LocalAddr(), c.RemoteAddr(), s.RemoteAddr())
	}
	if size, err := s.ReadBuffer(); size != 20_000 || err != nil {
		t.Errorf("ReadBuffer = %d, %v", size, err)
	}
	k := net.KeepAliveConfig{Enable: true, Idle: 7 * time.Second, Interval: 8 * time.Second, Count: 9}
	if err := c.SetKeepAlive(k); err != nil {
		t.Error(err)
	}
	if got, err := c.KeepAlive(); got != k || err != nil {
		t.Errorf("KeepAlive = %+v, %v", got, err)
	}
	if n, err := c.Writev([][]byte{[]byte("he"), nil, []byte("llo")}); n != 5 || err != nil {
		t.Errorf("Writev = %d, %v", n, err)
	}
	buf := make([]byte, 10)
	if n, err := s.Peek(buf[:2]); n != 2 || err != nil {
		t.Errorf("Peek = %d, %v", n, err)
	}
	bufs := [][]byte{buf[:1], buf[1:10]}
	if n, err := s.Readv(bufs); string(buf[:n]) != "hello" || err != nil {
		t.Errorf("Readv = %d, %v", n, err)
	}
	if _, err := s.Read(buf); !errors.Is(err, sock.ErrWouldBlock) {
		t.Errorf("Read: %v, want ErrWouldBlock", err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(buf); err != io.EOF {
		t.Errorf("Read: %v, want io.EOF", err)
	}
	s.SetLinger(0)
	s.Close()
	if _, err := c.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read: %v, want ECONNRESET", err)
	}
}

func TestUnixByPackageSock(t *testing.T) {
	h := newHosts(t, 1)[0]
	l := must[*sock.UnixListener](t)(sock.ListenUnix("/run/name", sock.OnNetwork(h)))
	if _, err := sock.ListenUnix("/run/name", sock.OnNetwork(h)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second ListenUnix: %v, want EADDRINUSE", err)
	}
	c := must[*sock.UnixStream](t)(sock.ConnectUnix(l.Addr(), sock.OnNetwork(h), sock.LocalUnixAddr("/run/client")))
	s := must[*sock.UnixStream](t)(l.Accept())
	if s.RemoteAddr() != "/run/client" || c.RemoteAddr() != "/run/name" {
		t.Errorf("addresses: %q, %q", s.RemoteAddr(), c.RemoteAddr())
	}
	c.Write([]byte("hello"))
	buf := make([]byte, 10)
	if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	l.Close()
	c.Close()
	s.Close()
	// The name is free again.
	must[*sock.UnixListener](t)(sock.ListenUnix("/run/name", sock.OnNetwork(h))).Close()
}

// The conversions between package sock and blocking ends give duplicates of one socket.
func TestConversions(t *testing.T) {
	hosts := newHosts(t, 2)
	l := must[*simnet.Listener](t)(hosts[1].Listen("tcp", ":80"))
	defer l.Close()
	c := must[*simnet.Conn](t)(hosts[0].Dial(t.Context(), "tcp", "10.0.0.2:80"))
	defer c.Close()
	accepted := must[net.Conn](t)(l.Accept())
	s := must[*sock.TCPStream](t)(sock.FromTCPConn(accepted.(*simnet.Conn)))
	accepted.Close()
	if hosts[1].Descriptors() != 2 {
		t.Errorf("%d descriptors are open, want 2", hosts[1].Descriptors())
	}
	s.Write([]byte("from sock"))
	buf := make([]byte, 20)
	if n, err := c.Read(buf); string(buf[:n]) != "from sock" || err != nil {
		t.Errorf("Read = %q, %v", buf[:n], err)
	}
	d := must[net.Conn](t)(s.NetConn())
	s.Close()
	d.Write([]byte("from the duplicate"))
	if n, err := c.Read(buf); string(buf[:n]) != "from the duplicate" || err != nil {
		t.Errorf("Read = %q, %v", buf[:n], err)
	}
	d.Close()
	if _, err := c.Read(buf); err != io.EOF {
		t.Errorf("Read: %v, want io.EOF", err)
	}
	if _, err := sock.FromUnixConn(c); err == nil || !strings.Contains(err.Error(), "AF_INET") {
		t.Errorf("FromUnixConn of a TCP connection: %v", err)
	}
	again := must[*sock.TCPListener](t)(sock.FromTCPListener(l))
	again.Close()
}

// A watcher is called for each change that it must not miss.
func TestWatcher(t *testing.T) {
	hosts := newHosts(t, 2)
	socket := func(h *host) (*simnet.Socket, sys.FD, *watcher) {
		fd, e := h.Socket(sys.AF_INET, sys.SOCK_STREAM)
		if e != 0 {
			t.Fatal(e)
		}
		t.Cleanup(func() { sys.Close(fd) })
		s, _ := simnet.SocketOf(sys.Virtual(fd))
		w := &watcher{}
		s.SetWatcher(w)
		return s, fd, w
	}
	var to sys.Sockaddr
	to.SetAddrPort(netip.MustParseAddrPort("10.0.0.2:80"), sys.AF_INET)
	l, _, listening := socket(hosts[1])
	l.Bind(to)
	l.Listen(5)
	c, cfd, client := socket(hosts[0])
	client.expect(t, "nothing", 0)
	if e := c.Connect(to); e != syscall.EINPROGRESS {
		t.Fatal(e)
	}
	client.expect(t, "connected", simnet.Writable)
	listening.expect(t, "a connection", simnet.Readable)
	sfd, _, e := l.Accept()
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.Close(sfd)
	s, _ := simnet.SocketOf(sys.Virtual(sfd))
	server := &watcher{}
	s.SetWatcher(server)
	c.Send([][]byte{[]byte("hello")}, 0)
	server.expect(t, "bytes", simnet.Readable|simnet.Writable)
	big := make([]byte, 10<<20)
	n, _ := c.Send([][]byte{big}, 0)
	client.expect(t, "nothing", 0)
	for got := 0; got < n; {
		k, _ := s.Recv([][]byte{big}, 0)
		got += k
	}
	client.expect(t, "space", simnet.Writable)
	c.Shutdown(sys.SHUT_WR)
	server.expect(t, "FIN", simnet.Readable|simnet.Writable|simnet.ReadClosed)
	c.SetLinger(true, 0)
	sys.Close(cfd)
	server.expect(t, "reset", simnet.Readable|simnet.Writable|simnet.ReadClosed|simnet.Failed|simnet.PendingError)
	if _, ok := simnet.SocketOf(nil); ok {
		t.Error("SocketOf(nil) is a socket")
	}
}

// watcher records the state at the last change.
type watcher struct {
	changes int
	state   simnet.State
}

func (w *watcher) Changed(s *simnet.Socket) {
	w.changes++
	w.state = s.StateLocked()
}

// expect checks that there was a change since the last call, unless the state is 0, and the state.
func (w *watcher) expect(t *testing.T, what string, state simnet.State) {
	t.Helper()
	if w.changes > 0 != (state != 0) || w.state != state {
		t.Errorf("%s: %d changes, the state is %06b, want %05b", what, w.changes, w.state, state)
	}
	*w = watcher{}
}
