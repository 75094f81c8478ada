//go:build unix

package sock_test

import (
	"net"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// A stream's LocalNetAddr and RemoteNetAddr are its LocalAddr and RemoteAddr, for TCP and Unix.
func TestNetAddrs(t *testing.T) {
	c, s := tcpPair(t, loopback4)
	for _, x := range []struct {
		got  net.Addr
		want string
	}{
		{c.LocalNetAddr(), c.LocalAddr().String()},
		{c.RemoteNetAddr(), c.RemoteAddr().String()},
		{s.LocalNetAddr(), c.RemoteAddr().String()},
		{s.RemoteNetAddr(), c.LocalAddr().String()},
	} {
		if x.got.Network() != "tcp" || x.got.String() != x.want {
			t.Errorf("%v of network %s, want %s", x.got, x.got.Network(), x.want)
		}
	}
	name := t.TempDir() + "/s"
	l, err := sock.ListenUnix(name)
	must(t, err)
	defer l.Close()
	u, err := sock.ConnectUnix(l.Addr(), sock.LocalUnixAddr(name+"c"))
	must(t, err)
	if u.RemoteNetAddr().String() != name || u.LocalNetAddr().String() != name+"c" || u.LocalNetAddr().Network() != "unix" {
		t.Errorf("%v to %v, want %s to %s", u.LocalNetAddr(), u.RemoteNetAddr(), name+"c", name)
	}
	u.Close()
	if u.LocalNetAddr() != nil || u.RemoteNetAddr() != nil || u.LocalAddr() != "" || u.RemoteAddr() != "" {
		t.Errorf("a closed stream has addresses: %v %v", u.LocalNetAddr(), u.RemoteNetAddr())
	}
}

// NetConn returns the type of package net that belongs to the socket, and it is the same socket.
func TestNetConn(t *testing.T) {
	c, _ := tcpPair(t, loopback4)
	tcp, err := c.NetConn()
	must(t, err)
	defer tcp.Close()
	if tcp, ok := tcp.(*net.TCPConn); !ok || tcp.LocalAddr().String() != c.LocalAddr().String() {
		t.Errorf("NetConn of a TCP stream is a %T", tcp)
	}
	to := udp(t, loopback4)
	u, err := sock.ConnectUDP(to.LocalAddr())
	must(t, err)
	defer u.Close()
	conn, err := u.NetConn()
	must(t, err)
	defer conn.Close()
	if conn, ok := conn.(*net.UDPConn); !ok || conn.RemoteAddr().String() != to.LocalAddr().String() {
		t.Errorf("NetConn of a UDP socket is a %T", conn)
	}
	a, b, err := sock.UnixDatagramPair()
	must(t, err)
	defer a.Close()
	defer b.Close()
	datagrams, err := a.NetConn()
	must(t, err)
	defer datagrams.Close()
	if _, err := datagrams.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 4)
	if n, err := b.Read(buf); n != 1 || err != nil {
		t.Errorf("Read of what NetConn has sent = %d, %v", n, err)
	}
	if _, ok := datagrams.(*net.UnixConn); !ok {
		t.Errorf("NetConn of a Unix datagram socket is a %T", datagrams)
	}
	for what, s := range map[string]any{"a listener": &sock.TCPListener{}, "a Unix listener": &sock.UnixListener{}, "a pipe": &sock.PipeReader{}, "a descriptor": &sock.FD{}} {
		if _, ok := s.(interface{ NetConn() (net.Conn, error) }); ok {
			t.Errorf("%s has NetConn, which cannot work", what)
		}
	}
}
