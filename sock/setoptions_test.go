package sock_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// openOptions are the options that SetOptions takes for an open TCP socket, those before unsupported
// ones too, and wantOpenOptions checks that a stream has them.
func openOptions() []sock.Option {
	o := []sock.Option{
		sock.NoDelay(false), sock.ReadBuffer(20000), sock.WriteBuffer(10000),
		sock.KeepAlive(net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second, Interval: 5 * time.Second, Count: 4}),
	}
	if sys.HasUserTimeout {
		o = append(o, sock.UserTimeout(1234*time.Millisecond))
	}
	return o
}

func wantOpenOptions(t *testing.T, s *sock.TCPStream) {
	t.Helper()
	if on, err := s.NoDelay(); on || err != nil {
		t.Errorf("NoDelay = %v, %v, want off", on, err)
	}
	want := net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second, Interval: 5 * time.Second, Count: 4}
	if k, err := s.KeepAlive(); err == nil && k != want || !k.Enable && !sys.OnWine() {
		t.Errorf("KeepAlive = %+v, %v, want %+v", k, err, want)
	}
	if d, err := s.UserTimeout(); sys.HasUserTimeout && (d != 1234*time.Millisecond || err != nil) {
		t.Errorf("UserTimeout = %v, %v, want 1.234s", d, err)
	}
	if n, err := s.WriteBuffer(); err != nil || n != 10000 && n != 20000 { // Linux doubles it
		t.Errorf("WriteBuffer = %d, %v, want 10000", n, err)
	}
	if n, err := s.ReadBuffer(); err != nil || n != 20000 && n != 40000 {
		t.Errorf("ReadBuffer = %d, %v, want 20000", n, err)
	}
}

// The options of a TCP socket do the same when it is made and later, on a stream and on a listener for
// its connections, also of a listener from package net.
func TestTCPOpenOptions(t *testing.T) {
	accepted := func(l *sock.TCPListener) (s *sock.TCPStream) {
		c, err := sock.ConnectTCP(l.Addr())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
		t.Cleanup(func() { s.Close() })
		return s
	}
	made, err := sock.ListenTCP(loopback4, openOptions()...)
	must(t, err)
	defer made.Close()
	wantOpenOptions(t, accepted(made))
	must(t, made.SetOptions(sock.NoDelay(true), sock.KeepAlive(net.KeepAliveConfig{})))
	s := accepted(made)
	if on, err := s.NoDelay(); !on || err != nil {
		t.Errorf("after SetOptions(NoDelay(true)) of the listener NoDelay is %v, %v", on, err)
	}
	if k, _ := s.KeepAlive(); k.Enable {
		t.Error("after SetOptions of the listener keep-alive is still on")
	}

	config := net.ListenConfig{}
	config.SetMultipathTCP(false) // MPTCP has no TCP_USER_TIMEOUT
	plain, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer plain.Close()
	adopted, err := sock.FromTCPListener(plain.(*net.TCPListener))
	must(t, err)
	defer adopted.Close()
	must(t, adopted.SetOptions(openOptions()...))
	wantOpenOptions(t, accepted(adopted))

	c, err := sock.ConnectTCP(made.Addr(), openOptions()...)
	must(t, err)
	defer c.Close()
	wantOpenOptions(t, c)
	c, s = tcpPair(t, loopback4)
	must(t, c.SetOptions(openOptions()...))
	wantOpenOptions(t, c)
	must(t, s.SetOptions())
}

// Q9: SetOptions refuses an option that the open socket cannot have, names it, and sets none of the
// others; it also refuses a closed socket.
func TestSetOptionsRefuses(t *testing.T) {
	type socket interface {
		SetOptions(...sock.Option) error
		ReadBuffer() (int, error)
		Close() error
	}
	c, _ := tcpPair(t, loopback4)
	l, err := sock.ListenTCP(loopback4)
	must(t, err)
	u, err := sock.ListenUDP(loopback4)
	must(t, err)
	sockets := map[string]socket{"a TCP stream": c, "a TCP listener": l, "a UDP socket": u}
	if !sys.OnWine() { // which has no Unix sockets
		ul, err := sock.ListenUnix(filepath.Join(t.TempDir(), "s"))
		must(t, err)
		uc, err := sock.ConnectUnix(ul.Addr())
		must(t, err)
		sockets["a Unix listener"], sockets["a Unix stream"] = ul, uc
		if a, b, err := sock.UnixDatagramPair(); err == nil {
			defer b.Close()
			sockets["a Unix datagram socket"] = a
		}
	}
	onlyNew := map[string]sock.Option{
		"Backlog": sock.Backlog(1), "ReuseAddr": sock.ReuseAddr(true), "ReusePort": sock.ReusePort(true), "V6Only": sock.V6Only(true),
		"LocalAddr": sock.LocalAddr(loopback4), "LocalUnixAddr": sock.LocalUnixAddr("x"), "Control": sock.Control(func(uintptr) error { return nil }),
	}
	onlyTCP := map[string]sock.Option{
		"NoDelay": sock.NoDelay(true), "KeepAlive": sock.KeepAlive(net.KeepAliveConfig{}), "UserTimeout": sock.UserTimeout(0),
	}
	for kind, s := range sockets {
		before, err := s.ReadBuffer()
		must(t, err)
		refuses := func(what string, option sock.Option) {
			t.Helper()
			err := s.SetOptions(sock.ReadBuffer(7777), option)
			isBadOption(t, "SetOptions of "+kind+" with "+what, err)
			if err != nil && !strings.Contains(err.Error(), what) {
				t.Errorf("%s: the error does not name %s: %v", kind, what, err)
			}
		}
		for what, option := range onlyNew {
			refuses(what, option)
		}
		if !strings.Contains(kind, "TCP") {
			for what, option := range onlyTCP {
				refuses(what, option)
			}
		}
		refuses("WriteBuffer", sock.WriteBuffer(0))
		refuses("nil", nil)
		if after, err := s.ReadBuffer(); after != before || err != nil {
			t.Errorf("%s: refused options changed ReadBuffer from %d to %d (%v)", kind, before, after, err)
		}
		must(t, s.SetOptions(sock.ReadBuffer(20000)))
		if n, err := s.ReadBuffer(); err != nil || n != 20000 && n != 40000 {
			t.Errorf("%s: ReadBuffer = %d, %v, want 20000", kind, n, err)
		}
		must(t, s.Close())
		if err := s.SetOptions(sock.ReadBuffer(20000)); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("SetOptions of %s that is closed: %v, want ErrClosed", kind, err)
		}
	}
}
