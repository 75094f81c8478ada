package sock_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

const patience = testkit.Watchdog

var (
	loopback4 = netip.MustParseAddrPort("127.0.0.1:0")
	loopback6 = netip.MustParseAddrPort("[::1]:0")
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until calls f, and again after each event for interest, until it no longer returns
// ErrWouldBlock.
func until(t testing.TB, src pollux.Source, interest pollux.Interest, f func() error) error {
	t.Helper()
	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	must(t, q.Register(src, 1, interest, pollux.Edge))
	defer q.Deregister(src)
	events := make([]pollux.Event, 4)
	for end := time.Now().Add(patience); ; {
		if err := f(); !errors.Is(err, sock.ErrWouldBlock) {
			return err
		}
		if time.Now().After(end) {
			t.Fatalf("would block for %v", patience)
		}
		if _, err := q.Wait(events, time.Until(end)); err != nil {
			t.Fatal(err)
		}
	}
}

func tcpPair(t testing.TB, at netip.AddrPort, options ...sock.Option) (client, server *sock.TCPStream) {
	t.Helper()
	l, err := sock.ListenTCP(at)
	must(t, err)
	defer l.Close()
	client, err = sock.ConnectTCP(l.Addr(), options...)
	must(t, err)
	must(t, until(t, client, pollux.Writable, client.ConnectError))
	must(t, until(t, l, pollux.Readable, func() (err error) {
		server, err = l.Accept()
		return err
	}))
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestConnectAndAddresses(t *testing.T) {
	for _, at := range []netip.AddrPort{loopback4, loopback6} {
		if at == loopback6 && !haveIPv6() {
			t.Log("IPv6 is skipped: this machine has no ::1")
			continue
		}
		c, s := tcpPair(t, at)
		if c.LocalAddr() != s.RemoteAddr() || c.RemoteAddr() != s.LocalAddr() {
			t.Errorf("the client has %v → %v, the server %v → %v", c.LocalAddr(), c.RemoteAddr(), s.RemoteAddr(), s.LocalAddr())
		}
		if c.LocalAddr().Addr() != at.Addr() || c.LocalAddr().Port() == 0 {
			t.Errorf("local address %v", c.LocalAddr())
		}
		if err := s.ConnectError(); err != nil {
			t.Errorf("ConnectError of an accepted stream: %v", err)
		}
	}
}

func haveIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func TestDualStackListener(t *testing.T) {
	if !haveIPv6() {
		t.Skip("this machine has no IPv6")
	}
	l, err := sock.ListenTCP(netip.MustParseAddrPort("[::]:0"))
	must(t, err)
	defer l.Close()
	to := netip.AddrPortFrom(loopback4.Addr(), l.Addr().Port())
	c, err := sock.ConnectTCP(to)
	must(t, err)
	defer c.Close()
	must(t, until(t, c, pollux.Writable, c.ConnectError))
	var s *sock.TCPStream
	must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
	defer s.Close()
	if s.RemoteAddr() != c.LocalAddr() || !s.RemoteAddr().Addr().Is4() {
		t.Errorf("the server sees %v, the client has %v: want the same IPv4 address", s.RemoteAddr(), c.LocalAddr())
	}

	only, err := sock.ListenTCP(netip.MustParseAddrPort("[::]:0"), sock.V6Only(false), sock.V6Only(true))
	must(t, err)
	defer only.Close()
	refused(t, netip.AddrPortFrom(loopback4.Addr(), only.Addr().Port()))

	both, err := sock.ListenTCP(netip.MustParseAddrPort("[::]:0"), sock.V6Only(true), sock.V6Only(false)) // the last one applies
	must(t, err)
	defer both.Close()
	c4, err := sock.ConnectTCP(netip.AddrPortFrom(loopback4.Addr(), both.Addr().Port()))
	must(t, err)
	defer c4.Close()
	must(t, until(t, c4, pollux.Writable, c4.ConnectError))
}

// refused checks that connecting to addr fails with ECONNREFUSED, immediately or later, and
// that ConnectError returns the same error again.
func refused(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	c, err := sock.ConnectTCP(addr)
	if err == nil {
		defer c.Close()
		err = until(t, c, pollux.Writable, c.ConnectError)
		if again := c.ConnectError(); again == nil || again.Error() != err.Error() {
			t.Errorf("ConnectError returns %v, then %v", err, again)
		}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to %v: %v, want ECONNREFUSED", addr, err)
	}
	if err != nil && !strings.Contains(err.Error(), addr.String()) {
		t.Errorf("%q does not name the address", err)
	}
}

func TestRefusedConnectIsNeverOpen(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	addr := l.Addr()
	must(t, l.Close())
	for range 20 {
		refused(t, addr)
	}
}

// A read before ConnectError takes the error, which the kernel returns only once.
func TestRefusedConnectAfterReadHasTakenTheError(t *testing.T) {
	c, err := sock.ConnectTCP(netip.MustParseAddrPort("127.0.0.1:1"))
	if err != nil {
		t.Logf("refused immediately: %v", err)
		return
	}
	defer c.Close()
	readErr := until(t, c, pollux.Readable, func() error { _, err := c.Read(make([]byte, 1)); return err })
	if err := c.ConnectError(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Read: %v; ConnectError: %v, want ECONNREFUSED", readErr, err)
	}
}

// Reads and writes of a refused stream return ECONNREFUSED, not io.EOF or another error.
func TestRefusedStreamIsNotAtItsEnd(t *testing.T) {
	c := connectRefused(t)
	want := until(t, c, pollux.Writable, c.ConnectError)
	if want == nil {
		t.Fatal("connected to a port on which no socket listens")
	}
	b := make([]byte, 1)
	for what, f := range map[string]func() (int, error){
		"Read":  func() (int, error) { return c.Read(b) },
		"Peek":  func() (int, error) { return c.Peek(b) },
		"Readv": func() (int, error) { return c.Readv([][]byte{b}) },
		"Write": func() (int, error) { return c.Write(b) },
	} {
		if n, err := f(); n != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s = %d, %v, want %v", what, n, err, want)
		}
	}
}

// connectRefused returns a stream whose connection is being refused, or was.
func connectRefused(t *testing.T) *sock.TCPStream {
	t.Helper()
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	addr := l.Addr()
	must(t, l.Close())
	c, err := sock.ConnectTCP(addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		t.Skipf("refused immediately: %v", err)
	}
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// The kernel returns a refusal to one of several concurrent calls; all of them return it.
func TestConcurrentConnectError(t *testing.T) {
	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	events := make([]pollux.Event, 1)
	for range 2000 {
		c := connectRefused(t)
		must(t, q.Register(c, 1, pollux.Writable, pollux.Edge))
		if n, err := q.Wait(events, patience); n != 1 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		var errs [4]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = c.ConnectError() })
		}
		wg.Wait()
		for _, err := range errs {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("ConnectError: %v, want ECONNREFUSED", err)
			}
		}
		must(t, c.Close())
	}
}

// An error on a connected stream, before any ConnectError, is not the outcome of connecting.
func TestConnectErrorAfterOtherErrors(t *testing.T) {
	for what, f := range map[string]func(c *sock.TCPStream) error{
		"ReadUrgent without any":  func(c *sock.TCPStream) error { _, err := c.ReadUrgent(); return err },
		"Write after CloseWrite":  func(c *sock.TCPStream) error { must(t, c.CloseWrite()); _, err := c.Write([]byte("x")); return err },
		"Writev after CloseWrite": func(c *sock.TCPStream) error { must(t, c.CloseWrite()); _, err := c.Writev([][]byte{{1}}); return err },
	} {
		l, err := sock.ListenTCP(loopback4)
		must(t, err)
		c, err := sock.ConnectTCP(l.Addr())
		must(t, err)
		var s *sock.TCPStream
		must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
		must(t, until(t, c, pollux.Writable, func() error { // without ConnectError
			if !c.RemoteAddr().IsValid() {
				return sock.ErrWouldBlock
			}
			return nil
		}))
		if err := f(c); err == nil {
			t.Errorf("%s succeeded", what)
		}
		if err := c.ConnectError(); err != nil {
			t.Errorf("%s: ConnectError of a connected stream: %v", what, err)
		}
		must(t, errors.Join(c.Close(), s.Close(), l.Close()))
	}
}

func TestConnectPending(t *testing.T) {
	// A full backlog leaves the last SYN unanswered, so connecting does not end.
	l, err := sock.ListenTCP(loopback4, sock.Backlog(1))
	must(t, err)
	defer l.Close()
	var streams []*sock.TCPStream
	defer func() {
		for _, s := range streams {
			s.Close()
		}
	}()
	for range 20 {
		c, err := sock.ConnectTCP(l.Addr())
		must(t, err)
		streams = append(streams, c)
		if err := c.ConnectError(); errors.Is(err, sock.ErrWouldBlock) {
			if !c.LocalAddr().IsValid() {
				t.Error("no local address while connecting")
			}
			if c.RemoteAddr().IsValid() {
				t.Errorf("RemoteAddr %v before there is a peer", c.RemoteAddr())
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, sock.ErrWouldBlock) && !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("Read while connecting: %v", err)
			}
			if _, err := c.ReadUrgent(); err == nil {
				t.Error("ReadUrgent while connecting succeeded")
			}
			if err := c.ConnectError(); !errors.Is(err, sock.ErrWouldBlock) {
				t.Errorf("ConnectError after the reads: %v, want would-block still", err)
			}
			return
		}
	}
	t.Skip("this kernel's backlog does not fill up, so connecting does not stay pending")
}

func TestReadsAndWrites(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	if _, err := c.Read(make([]byte, 1)); err != sock.ErrWouldBlock {
		t.Errorf("Read of nothing: %v", err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read into nothing = %d, %v", n, err)
	}
	if n, err := s.Writev([][]byte{[]byte("ab"), nil, []byte("cdef"), {}}); n != 6 || err != nil {
		t.Fatalf("Writev = %d, %v", n, err)
	}
	b := make([]byte, 3)
	must(t, until(t, c, pollux.Readable, func() error { _, err := c.Peek(b); return err }))
	x, y := make([]byte, 1), make([]byte, 10)
	if n, err := c.Readv([][]byte{x, nil, y}); n != 6 || err != nil || string(x)+string(y[:5]) != "abcdef" {
		t.Errorf("Readv = %d, %v: %q %q", n, err, x, y)
	}
	must(t, s.CloseWrite())
	if err := until(t, c, pollux.Readable, func() error { _, err := c.Read(b); return err }); err != io.EOF {
		t.Errorf("Read after the peer's FIN: %v", err)
	}
	if n, err := c.Write([]byte("still")); n != 5 || err != nil {
		t.Errorf("Write after the peer's FIN = %d, %v", n, err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after CloseWrite: %v, want EPIPE", err)
	}
}

// Every byte arrives, in order, through small buffers and with any sizes.
func TestPartialWritesLoseNothing(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		c, s := tcpPair(t, loopback4, sock.WriteBuffer(4096))
		want := make([]byte, 1<<20)
		for i := range want {
			want[i] = byte(i * 7 >> 3)
		}
		var got bytes.Buffer
		var wg sync.WaitGroup
		wg.Go(func() { receive(t, s, &got, len(want)) })
		sent := 0
		must(t, until(t, c, pollux.Writable, func() error {
			for sent < len(want) {
				n, err := sendSome(c, want[sent:], vectored)
				sent += n
				if err != nil {
					return err
				}
			}
			return nil
		}))
		wg.Wait()
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("vectored %v: received %d bytes of %d, or in another order", vectored, got.Len(), len(want))
		}
	}
}

func sendSome(c *sock.TCPStream, b []byte, vectored bool) (int, error) {
	if !vectored {
		return c.Write(b)
	}
	var v [][]byte
	for i := 0; i < len(b) && len(v) < 200; {
		n := min(1+len(v)*37, len(b)-i)
		v = append(v, b[i:i+n])
		i += n
	}
	return c.Writev(v)
}

func receive(t *testing.T, s *sock.TCPStream, got *bytes.Buffer, want int) {
	b := make([]byte, 1777)
	err := until(t, s, pollux.Readable, func() error {
		for got.Len() < want {
			n, err := s.Read(b)
			got.Write(b[:n])
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("receiving: %v", err)
	}
}

func TestResetIsAnErrorOnce(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	must(t, s.SetLinger(0))
	must(t, s.Close())
	err := until(t, c, pollux.Readable, func() error { _, err := c.Read(make([]byte, 1)); return err })
	if !errors.Is(err, syscall.ECONNRESET) && err != io.EOF {
		t.Errorf("Read after a reset: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write after a reset: %v", err)
	}
}

func TestUrgentData(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	q, err := pollux.New()
	must(t, err)
	defer q.Close()
	must(t, q.Register(s, 1, pollux.Priority, pollux.Edge))
	must(t, c.SendUrgent('!'))
	events := make([]pollux.Event, 1)
	if n, err := q.Wait(events, patience); n != 1 || err != nil || !events[0].Priority() {
		t.Fatalf("Wait = %v, %v, want Priority", events[:n], err)
	}
	if b, err := s.ReadUrgent(); b != '!' || err != nil {
		t.Errorf("ReadUrgent = %q, %v", b, err)
	}
}

func TestTCPOptions(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	for _, x := range []*sock.TCPStream{c, s} {
		if on, err := x.NoDelay(); !on || err != nil {
			t.Errorf("NoDelay = %v, %v, want on by default", on, err)
		}
	}
	must(t, c.SetNoDelay(false))
	if on, _ := c.NoDelay(); on {
		t.Error("NoDelay is on after SetNoDelay(false)")
	}
	want := net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second, Interval: 5 * time.Second, Count: 4}
	must(t, c.SetKeepAlive(want))
	k, err := c.KeepAlive()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOPROTOOPT) {
		t.Logf("keep-alive times: not tested, this system does not return them: %v", err)
	} else if k != want || err != nil {
		t.Errorf("KeepAlive = %+v, %v, want %+v", k, err, want)
	}
	must(t, c.SetKeepAlive(net.KeepAliveConfig{}))
	if k, _ := c.KeepAlive(); k.Enable {
		t.Error("keep-alive is on after SetKeepAlive without Enable")
	}
	must(t, c.SetTTL(42))
	if ttl, err := c.TTL(); ttl != 42 || err != nil {
		t.Errorf("TTL = %d, %v", ttl, err)
	}
	if err := c.SetUserTimeout(1500 * time.Millisecond); err == nil {
		if d, err := c.UserTimeout(); d != 1500*time.Millisecond || err != nil {
			t.Errorf("UserTimeout = %v, %v", d, err)
		}
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SetUserTimeout: %v", err)
	}
	must(t, c.SetWriteBuffer(32<<10))
	if n, err := c.WriteBuffer(); n < 32<<10 || err != nil {
		t.Errorf("WriteBuffer = %d, %v", n, err)
	}
	if err := c.SetTTL(1000); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("SetTTL(1000): %v, want EINVAL", err)
	}
}

// Accepted streams have TCP_NODELAY, unless NoDelay(false) was given; also those of a listener from
// package net.
func TestNoDelay(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer plain.Close()
	for what, make := range map[string]func() (*sock.TCPListener, error){
		"on":      func() (*sock.TCPListener, error) { return sock.ListenTCP(loopback4) },
		"off":     func() (*sock.TCPListener, error) { return sock.ListenTCP(loopback4, sock.NoDelay(false)) },
		"adopted": func() (*sock.TCPListener, error) { return sock.FromTCPListener(plain.(*net.TCPListener)) },
	} {
		l, err := make()
		must(t, err)
		defer l.Close()
		c, err := sock.ConnectTCP(l.Addr())
		must(t, err)
		defer c.Close()
		var s *sock.TCPStream
		must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
		defer s.Close()
		if on, err := s.NoDelay(); on != (what != "off") || err != nil {
			t.Errorf("%s: NoDelay of the accepted stream is %v, %v", what, on, err)
		}
	}
}

func TestListenErrors(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	defer l.Close()
	_, err = sock.ListenTCP(l.Addr())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("listening twice: %v, want EADDRINUSE with the address", err)
	}
	for _, bad := range []netip.AddrPort{{}, netip.MustParseAddrPort("203.0.113.1:0")} {
		if _, err := sock.ListenTCP(bad); err == nil {
			t.Errorf("listening on %v succeeded", bad)
		}
		if _, err := sock.ListenUDP(bad); err == nil && !sys.OnWine() { // Wine binds to any address instead
			t.Errorf("binding to %v succeeded", bad)
		}
	}
	if _, err := sock.ConnectTCP(netip.AddrPort{}); err == nil {
		t.Error("connecting to the zero address succeeded")
	}
	boom := errors.New("boom")
	if _, err := sock.ListenTCP(loopback4, sock.Control(func(uintptr) error { return boom })); !errors.Is(err, boom) {
		t.Errorf("Control's error: %v", err)
	}
}

func TestReusePortShares(t *testing.T) {
	a, err := sock.ListenTCP(loopback4, sock.ReusePort(true))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("%v", err)
	}
	must(t, err)
	defer a.Close()
	b, err := sock.ListenTCP(a.Addr(), sock.ReusePort(true))
	must(t, err)
	must(t, b.Close())
	if c, err := sock.ListenTCP(a.Addr(), sock.ReusePort(true), sock.ReusePort(false)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a listener with ReusePort(false) at the same address: %v, %v, want EADDRINUSE", c, err)
	}
}

// ReusePort(false) is valid on every system, and the default.
func TestReusePortFalse(t *testing.T) {
	a, err := sock.ListenTCP(loopback4, sock.ReusePort(false))
	must(t, err)
	defer a.Close()
	var options []sock.Option
	if sys.HasReusePort {
		options = append(options, sock.ReusePort(true))
	}
	if b, err := sock.ListenTCP(a.Addr(), options...); err == nil {
		b.Close()
		t.Error("a second listener shares the port of one with ReusePort(false)")
	}
}

func TestClosedSocket(t *testing.T) {
	c, _ := tcpPair(t, loopback4)
	must(t, c.Close())
	_, readErr := c.Read(make([]byte, 1))
	_, writeErr := c.Write([]byte("x"))
	_, writevErr := c.Writev([][]byte{[]byte("x")})
	for what, err := range map[string]error{
		"Read": readErr, "Write": writeErr, "Writev": writevErr, "Close": c.Close(),
		"CloseWrite": c.CloseWrite(), "SetNoDelay": c.SetNoDelay(true), "ConnectError": c.ConnectError(),
	} {
		if !errors.Is(err, net.ErrClosed) || !errors.Is(err, sock.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	if c.LocalAddr().IsValid() || c.RemoteAddr().IsValid() {
		t.Error("a closed stream has addresses")
	}
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	must(t, l.Close())
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want ErrClosed", err)
	}
}

// Calls race with Close; each returns a valid result of its own socket, and the descriptor
// is closed once.
func TestCloseRacesCalls(t *testing.T) {
	before := testkit.CountUsage()
	for range 100 {
		c, s := tcpPair(t, loopback4)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				b := make([]byte, 16)
				for {
					if _, err := c.Read(b); errors.Is(err, net.ErrClosed) {
						return
					} else if err != sock.ErrWouldBlock {
						t.Errorf("Read: %v", err)
						return
					}
					if _, err := c.Write(b[:1]); errors.Is(err, net.ErrClosed) {
						return
					} else if err != nil && err != sock.ErrWouldBlock {
						t.Errorf("Write: %v", err)
						return
					}
				}
			})
		}
		wg.Go(func() { runtime.Gosched(); c.Close() })
		wg.Wait()
		s.Close()
	}
	before.Check(t)
}

func TestNoAllocations(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	b := make([]byte, 64)
	v := [][]byte{b[:32], b[32:]}
	if n := testing.AllocsPerRun(200, func() {
		c.Write(b)
		for got := 0; got < 64; {
			n, _ := s.Read(b)
			got += n
		}
		c.Writev(v)
		for got := 0; got < 64; {
			n, _ := s.Readv(v)
			got += n
		}
		s.Read(b) // would block
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkStreamReadWrite(b *testing.B) {
	c, s := tcpPair(b, loopback4)
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(buf)
		s.Read(buf)
	}
}
