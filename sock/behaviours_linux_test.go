package sock_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

func poll(t testing.TB) *pollux.Poll {
	t.Helper()
	q, err := pollux.New()
	must(t, err)
	t.Cleanup(func() { q.Close() })
	return q
}

func waitOne(t testing.TB, q *pollux.Poll, what string) pollux.Event {
	t.Helper()
	events := make([]pollux.Event, 1)
	if n, err := q.Wait(events, patience); n != 1 || err != nil {
		t.Fatalf("%s: Wait = %d, %v", what, n, err)
	}
	return events[0]
}

// An epoll descriptor can be registered like any source.
func TestNestedQueue(t *testing.T) {
	inner, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(t, err)
	f, err := sock.FromFD(uintptr(inner))
	must(t, err)
	defer f.Close()
	r, w, err := sock.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	raw, err := r.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = syscall.EpollCtl(inner, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN})
	}))
	must(t, err)
	q := poll(t)
	must(t, q.Register(f, 1, pollux.Readable, pollux.Edge))
	w.Write([]byte("x"))
	if ev := waitOne(t, q, "the inner queue"); !ev.Readable() {
		t.Errorf("%v", ev)
	}
}

// Accept fails if the process is out of descriptors. The connection stays in the queue, and
// a later Accept returns it.
func TestAcceptOutOfDescriptors(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	defer l.Close()
	c, err := sock.ConnectTCP(l.Addr())
	must(t, err)
	defer c.Close()
	must(t, until(t, c, pollux.Writable, c.ConnectError))
	restore := testkit.LimitDescriptors(t, 0)
	_, err = l.Accept()
	restore()
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Accept: %v, want EMFILE", err)
	}
	s, err := l.Accept()
	must(t, err)
	s.Close()
}

func TestPeekKeepsReadiness(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	q := poll(t)
	must(t, q.Register(c, 1, pollux.Readable, pollux.Level))
	s.Write([]byte("x"))
	b := make([]byte, 8)
	for range 3 {
		waitOne(t, q, "what was only peeked at")
		if n, err := c.Peek(b); n != 1 || err != nil {
			t.Fatalf("Peek = %d, %v", n, err)
		}
	}
	if n, err := c.Read(b); n != 1 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func TestWriteThenDeregisterDelivers(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	q := poll(t)
	must(t, q.Register(c, 1, pollux.Writable, pollux.Edge))
	c.Write([]byte("gone"))
	must(t, q.Deregister(c))
	b := make([]byte, 8)
	must(t, until(t, s, pollux.Readable, func() error { _, err := s.Read(b); return err }))
}

func TestShutdownsOfEachSide(t *testing.T) {
	for name, f := range map[string]func(near, far *sock.TCPStream) error{
		"local read":   func(near, _ *sock.TCPStream) error { return near.CloseRead() },
		"remote write": func(_, far *sock.TCPStream) error { return far.CloseWrite() },
		"remote both":  func(_, far *sock.TCPStream) error { return errors.Join(far.CloseRead(), far.CloseWrite()) },
	} {
		near, far := tcpPair(t, loopback4)
		q := poll(t)
		must(t, q.Register(near, 1, pollux.Readable, pollux.Edge))
		must(t, f(near, far))
		if ev := waitOne(t, q, name); !ev.ReadClosed() || !ev.Readable() {
			t.Errorf("%s: %v, want ReadClosed and Readable", name, ev)
		}
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: Read: %v, want EOF", name, err)
		}
	}
}

func TestWriteErrorAfterThePeerHasClosed(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	must(t, s.Close())
	err := until(t, c, pollux.Writable|pollux.Readable, func() error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		return sock.ErrWouldBlock
	})
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write: %v, want EPIPE or ECONNRESET", err)
	}
}

// A child that is started during I/O inherits no descriptors, so a stream ends when this
// process closes it, whatever the child does.
func TestForkInheritsNothing(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skipf("cannot start a child: %v", err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	must(t, c.Close())
	if err := until(t, s, pollux.Readable, func() error { _, err := s.Read(make([]byte, 1)); return err }); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
}

// Options set on a socket on [::] also apply to packets to IPv4 peers and groups.
func TestOptionsForMappedPeers(t *testing.T) {
	if !haveIPv6() {
		t.Skip("this machine has no IPv6")
	}
	r := udp(t, netip.MustParseAddrPort("0.0.0.0:0"))
	raw, err := r.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVTTL, 1)
	}))
	must(t, err)
	s := udp(t, netip.MustParseAddrPort("[::]:0"))
	hops := func(to netip.Addr) (ttl int) {
		t.Helper()
		_, err := s.WriteTo([]byte("x"), netip.AddrPortFrom(to, r.LocalAddr().Port()))
		must(t, err)
		b, oob := make([]byte, 1), make([]byte, 64)
		n := 0
		must(t, until(t, r, pollux.Readable, func() error {
			must(t, raw.Control(func(fd uintptr) { _, n, _, _, err = syscall.Recvmsg(int(fd), b, oob, 0) }))
			if err == syscall.EAGAIN {
				return sock.ErrWouldBlock
			}
			return err
		}))
		ms, err := syscall.ParseSocketControlMessage(oob[:n])
		must(t, err)
		return int(binary.NativeEndian.Uint32(ms[0].Data))
	}
	must(t, s.SetTTL(7))
	if ttl := hops(loopback4.Addr()); ttl != 7 {
		t.Errorf("a packet has TTL %d after SetTTL(7)", ttl)
	}
	group, lo := netip.MustParseAddr("239.255.77.8"), loopbackIndex(t)
	if err := r.JoinGroup(group, lo); err != nil {
		t.Skipf("no multicast on loopback here: %v", err)
	}
	must(t, s.SetMulticastInterface(lo))
	must(t, s.SetMulticastTTL(5))
	if ttl := hops(group); ttl != 5 {
		t.Errorf("a packet to a group has TTL %d after SetMulticastTTL(5)", ttl)
	}
	must(t, s.SetMulticastLoop(false))
	sraw, err := s.SyscallConn()
	must(t, err)
	must(t, sraw.Control(func(fd uintptr) {
		if on, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MULTICAST_LOOP); on != 0 || err != nil {
			t.Errorf("IP_MULTICAST_LOOP = %d, %v after SetMulticastLoop(false)", on, err)
		}
	}))
	if err := s.SetMulticastInterface(1 << 30); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("SetMulticastInterface with an unknown index: %v, want ENODEV", err)
	}
	only := udp(t, netip.MustParseAddrPort("[::]:0"), sock.V6Only(true))
	must(t, only.SetTTL(7))
}
