package sock_test

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// A value that a system would interpret as another one is ErrBadArgument, with the range.
func TestOptionsOutOfRange(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := sock.ConnectTCP(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u, err := sock.ListenUDP(loopback4)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	tooLarge := math.MaxInt
	for what, err := range map[string]error{
		"SetReadBuffer(-1)":         s.SetReadBuffer(-1),
		"SetReadBuffer(0)":          s.SetReadBuffer(0),
		"SetWriteBuffer(-1)":        s.SetWriteBuffer(-1),
		"SetTTL(0)":                 s.SetTTL(0),
		"SetTTL(-1)":                s.SetTTL(-1),
		"SetTTL(MaxInt)":            u.SetTTL(tooLarge),
		"SetMulticastTTL(-1)":       u.SetMulticastTTL(-1),
		"SetMulticastInterface(-1)": u.SetMulticastInterface(-1),
		"JoinGroup":                 u.JoinGroup(netip.MustParseAddr("224.0.0.99"), -1),
		"SetKeepAlive(Idle)":        s.SetKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 32768 * time.Second}),
		"SetKeepAlive(Interval)":    s.SetKeepAlive(net.KeepAliveConfig{Enable: true, Interval: math.MaxInt64}),
		"SetKeepAlive(Count)":       s.SetKeepAlive(net.KeepAliveConfig{Enable: true, Count: 128}),
		"SetLinger(10h)":            s.SetLinger(10 * time.Hour),
		"SetLinger(the longest)":    s.SetLinger(math.MaxInt64),
	} {
		isBadOption(t, what, err)
	}
	for _, d := range []time.Duration{-1, 50 * 24 * time.Hour, math.MaxInt64} {
		if err := s.SetUserTimeout(d); !errors.Is(err, errors.ErrUnsupported) {
			isBadOption(t, "SetUserTimeout("+d.String()+")", err)
		}
	}
	if math.MaxInt > math.MaxInt32 {
		isBadOption(t, "SetReadBuffer(MaxInt)", s.SetReadBuffer(tooLarge))
	}
	for what, option := range map[string]sock.Option{
		"Backlog(0)":      sock.Backlog(0),
		"ReadBuffer(-1)":  sock.ReadBuffer(-1),
		"WriteBuffer(0)":  sock.WriteBuffer(0),
		"KeepAlive":       sock.KeepAlive(net.KeepAliveConfig{Enable: true, Count: 128}),
		"UserTimeout(-1)": sock.UserTimeout(-1),
		"LocalAddr":       sock.LocalAddr(loopback4),
		"LocalAddr(zero)": sock.LocalAddr(netip.AddrPort{}),
		"no Unix address": sock.LocalUnixAddr(""),
		"Control(nil)":    sock.Control(nil),
		"LocalUnixAddr":   sock.LocalUnixAddr("x"),
	} {
		l, err := sock.ListenTCP(loopback4, option)
		isBadOption(t, "ListenTCP with "+what, err)
		if l != nil {
			l.Close()
		}
	}
}

// ErrBadArgument means that nothing was changed, even by a call that sets several options.
func TestBadKeepAliveChangesNothing(t *testing.T) {
	c, _ := tcpPair(t, loopback4)
	before, err := c.KeepAlive()
	if errors.Is(err, syscall.ENOPROTOOPT) {
		t.Skipf("no keep-alive times here: %v", err)
	}
	must(t, err)
	isBadOption(t, "SetKeepAlive", c.SetKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Count: 128}))
	if k, err := c.KeepAlive(); k != before || k.Enable || err != nil {
		t.Errorf("KeepAlive = %+v, %v; it was %+v, and off", k, err, before)
	}
}

// An option that does not apply to the socket is an error; it is not ignored.
func TestOptionsOfOtherSockets(t *testing.T) {
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	defer l.Close()
	name := "x"
	if !sys.OnWine() { // Wine has no Unix sockets, and cannot remove TempDir
		name = filepath.Join(t.TempDir(), "s")
	}
	type closer interface{ Close() error }
	for kind, c := range map[string]struct {
		make  func(...sock.Option) (closer, error)
		suits string
	}{
		"ListenTCP":  {func(o ...sock.Option) (closer, error) { return sock.ListenTCP(loopback4, o...) }, "Backlog ReuseAddr V6Only NoDelay"},
		"ConnectTCP": {func(o ...sock.Option) (closer, error) { return sock.ConnectTCP(l.Addr(), o...) }, "ReuseAddr V6Only NoDelay LocalAddr"},
		"ListenUDP":  {func(o ...sock.Option) (closer, error) { return sock.ListenUDP(loopback4, o...) }, "ReuseAddr V6Only"},
		"ConnectUDP": {func(o ...sock.Option) (closer, error) { return sock.ConnectUDP(l.Addr(), o...) }, "ReuseAddr V6Only LocalAddr"},
		"ListenUnix": {func(o ...sock.Option) (closer, error) { return sock.ListenUnix(name, o...) }, "Backlog"},
	} {
		if kind == "ListenUnix" && sys.OnWine() {
			continue
		}
		for what, option := range map[string]sock.Option{
			"Backlog":       sock.Backlog(10),
			"ReuseAddr":     sock.ReuseAddr(true),
			"V6Only":        sock.V6Only(false),
			"NoDelay":       sock.NoDelay(false),
			"LocalAddr":     sock.LocalAddr(loopback4),
			"LocalUnixAddr": sock.LocalUnixAddr(name + "l"),
			"nil":           nil,
		} {
			s, err := c.make(option)
			if slices.Contains(strings.Fields(c.suits), what) {
				if err != nil {
					t.Errorf("%s with %s: %v", kind, what, err)
					continue
				}
				must(t, s.Close())
				continue
			}
			isBadOption(t, kind+" with "+what, err)
		}
	}
}

// The error of an address that cannot be bound or connected names the address and the cause.
func TestBadAddresses(t *testing.T) {
	u, err := sock.ListenUDP(loopback4)
	must(t, err)
	defer u.Close()
	_, zero := sock.ListenTCP(netip.AddrPort{})
	_, zone := sock.ListenTCP(netip.MustParseAddrPort("[fe80::1%nowhere]:80"))
	_, family := u.WriteTo([]byte("x"), netip.MustParseAddrPort("[::1]:80"))
	_, empty := sock.ListenUnix("")
	_, long := sock.ListenUnix(strings.Repeat("x", 200))
	_, binary := sock.ListenUnix("a\x00b")
	for want, err := range map[string]error{
		"the address is the zero AddrPort": zero,
		`no network interface "nowhere"`:   zone,
		"[::1]:80 is an IPv6 address":      family,
		"the name is empty":                empty,
		"a name of 200 bytes is too long":  long,
		"zero byte":                        binary,
		"10.0.0.1 is not a multicast":      u.JoinGroup(netip.MustParseAddr("10.0.0.1"), 1),
	} {
		var op *net.OpError
		if !errors.As(err, &op) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if misuse := err != zone; errors.Is(err, sock.ErrBadArgument) != misuse { // interfaces come and go
			t.Errorf("%v: whether it is ErrBadArgument should be %v", err, misuse)
		}
	}
}

// Several sockets can bind to one port only if each has ReuseAddr.
func TestReuseAddrUDP(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the systems differ in what SO_REUSEADDR allows sockets of UDP; this is Linux's")
	}
	first := udp(t, loopback4, sock.ReuseAddr(true))
	if _, err := sock.ListenUDP(first.LocalAddr()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("without ReuseAddr: %v, want EADDRINUSE", err)
	}
	udp(t, first.LocalAddr(), sock.ReuseAddr(true))
}

func isBadOption(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, sock.ErrBadArgument) || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%s: %v, want ErrBadArgument", what, err)
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("%s: %v does not name the operation and the socket", what, err)
	}
}

// A stream without a socket behaves as closed; it is not descriptor 0. A stream that has a
// socket does not accept another.
func TestStreamWithoutSocket(t *testing.T) {
	var s sock.TCPStream
	if err := s.Close(); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if err := s.SetNoDelay(true); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("SetNoDelay: %v", err)
	}
	if err := s.ConnectError(); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("ConnectError: %v", err)
	}
	l, err := sock.ListenTCP(loopback4)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := sock.ConnectTCPInto(&s.Stream, l.Addr()); err != nil {
		t.Fatal(err)
	}
	at := s.LocalAddr()
	for what, err := range map[string]error{
		"ConnectTCPInto":      sock.ConnectTCPInto(&s.Stream, l.Addr()),
		"AcceptInto":          l.AcceptInto(&s.Stream),
		"ConnectTCPInto(nil)": sock.ConnectTCPInto(nil, l.Addr()),
		"AcceptInto(nil)":     l.AcceptInto(nil),
	} {
		isBadOption(t, what, err)
		if err == nil || !strings.Contains(err.Error(), "new Stream") {
			t.Errorf("%s of a stream that has a socket: %v", what, err)
		}
	}
	if s.LocalAddr() != at {
		t.Error("the stream has another socket now")
	}
	s.Close()
	if err := l.AcceptInto(&s.Stream); err == nil {
		t.Error("AcceptInto a closed stream succeeded")
	}
}

// To duplicate nil is an error, and the result is nil.
func TestFromNil(t *testing.T) {
	s, err := sock.FromTCPConn(nil)
	var op *net.OpError
	if s != nil || !errors.As(err, &op) || !strings.Contains(err.Error(), "is nil") {
		t.Errorf("FromTCPConn(nil): %v, %v", s, err)
	}
	var none *net.UDPConn
	if u, err := sock.FromUDPConn(none); u != nil || !errors.Is(err, sock.ErrBadArgument) {
		t.Errorf("FromUDPConn of a nil pointer: %v, %v", u, err)
	}
	if f, err := sock.FromFile(nil); f != nil || !errors.Is(err, sock.ErrBadArgument) {
		t.Errorf("FromFile(nil): %v, %v", f, err)
	}
}

// A listening socket is not a stream, and a stream is not a listener.
func TestFromWrongKind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := sock.FromTCPConn(l.(*net.TCPListener)); !errors.Is(err, sock.ErrBadArgument) || !strings.Contains(err.Error(), "the socket is listening") {
		t.Errorf("FromTCPConn of a listener: %v", err)
	}
	if _, err := sock.FromTCPListener(c.(*net.TCPConn)); !errors.Is(err, sock.ErrBadArgument) || !strings.Contains(err.Error(), "is not listening") {
		t.Errorf("FromTCPListener of a connection: %v", err)
	}
}
