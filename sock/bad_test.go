package sock_test

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/sock"
)

// What a system would take for something else is refused, and says which range there is.
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
		"SetRecvBuffer(-1)":         s.SetRecvBuffer(-1),
		"SetRecvBuffer(0)":          s.SetRecvBuffer(0),
		"SetSendBuffer(-1)":         s.SetSendBuffer(-1),
		"SetTTL(0)":                 s.SetTTL(0),
		"SetTTL(-1)":                s.SetTTL(-1),
		"SetTTL(MaxInt)":            u.SetTTL(tooLarge),
		"SetMulticastTTL(-1)":       u.SetMulticastTTL(-1),
		"SetMulticastInterface(-1)": u.SetMulticastInterface(-1),
		"JoinGroup":                 u.JoinGroup(netip.MustParseAddr("224.0.0.99"), -1),
		"SetKeepAlive(negative)":    s.SetKeepAlive(sock.KeepAlive{Idle: -500 * time.Millisecond}),
		"SetKeepAlive(count)":       s.SetKeepAlive(sock.KeepAlive{Count: -1}),
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
		isBadOption(t, "SetRecvBuffer(MaxInt)", s.SetRecvBuffer(tooLarge))
	}
	for what, option := range map[string]sock.Option{
		"Backlog(0)":     sock.Backlog(0),
		"RecvBuffer(-1)": sock.RecvBuffer(-1),
		"SendBuffer(0)":  sock.SendBuffer(0),
		"LocalAddr":      sock.LocalAddr(loopback4),
		"LocalName":      sock.LocalName("x"),
	} {
		l, err := sock.ListenTCP(loopback4, option)
		isBadOption(t, "ListenTCP with "+what, err)
		if l != nil {
			l.Close()
		}
	}
	_, err = sock.ConnectTCP(l.Addr(), sock.LocalName("x"))
	isBadOption(t, "ConnectTCP with LocalName", err)
}

func isBadOption(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, sock.ErrBadOption) || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%s: %v, want ErrBadOption", what, err)
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("%s: %v says neither what was attempted nor on what", what, err)
	}
}

// A stream without a socket is as closed: it is not descriptor 0. One that has one takes
// no other.
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
		"ConnectTCPInto": sock.ConnectTCPInto(&s.Stream, l.Addr()),
		"AcceptInto":     l.AcceptInto(&s.Stream),
	} {
		if err == nil || !strings.Contains(err.Error(), "new one") {
			t.Errorf("%s of a stream that has a socket: %v", what, err)
		}
	}
	if s.LocalAddr() != at {
		t.Error("it has another socket now")
	}
	s.Close()
	if err := l.AcceptInto(&s.Stream); err == nil {
		t.Error("AcceptInto of a stream that is closed")
	}
}

// A listening socket is no stream, and the other way round.
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
	if _, err := sock.FromTCPConn(l.(*net.TCPListener)); err == nil || !strings.Contains(err.Error(), "the socket listens") {
		t.Errorf("FromTCPConn of a listener: %v", err)
	}
	if _, err := sock.FromTCPListener(c.(*net.TCPConn)); err == nil || !strings.Contains(err.Error(), "does not listen") {
		t.Errorf("FromTCPListener of a connection: %v", err)
	}
}
