package conformance

import (
	"net"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// acceptOptions: accepted connections have the options of their listener, also those that it got while
// it accepts.
func acceptOptions(h *harness) {
	keepAlive := net.KeepAliveConfig{Enable: true, Idle: 70 * time.Second}
	set := []sock.Option{sock.NoDelay(false), sock.KeepAlive(keepAlive), sock.ReadBuffer(20000), sock.WriteBuffer(10000)}
	if sys.HasUserTimeout {
		set = append(set, sock.UserTimeout(1234*time.Millisecond))
	}
	for what, x := range map[string]struct {
		made, later []sock.Option
		set         bool
	}{
		"the defaults": {nil, nil, false}, "made with options": {set, nil, true}, "set later": {nil, set, true},
	} {
		s := h.listenTCP(x.made...)
		l := h.listenerOf(s)
		l.listen()
		h.turn(0)
		h.must(s.SetOptions(x.later...))
		h.connectPeers(s, 1)
		h.until("Accepted", l.has(1))
		h.wantOption(l.accepted[0], what, "TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY, x.set, 0)
		h.wantOption(l.accepted[0], what, "SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE, !x.set, 0)
		h.wantOption(l.accepted[0], what, "TCP_KEEPIDLE", sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, x.set, 70)
		h.wantOption(l.accepted[0], what, "SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, x.set, 10000)
		h.wantOption(l.accepted[0], what, "SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, x.set, 20000)
		if sys.HasUserTimeout {
			h.wantOption(l.accepted[0], what, "TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, x.set, 1234)
		}
	}
}

// acceptAdopted: connections of a listener of package net have TCP_NODELAY, which that listener may not
// have, until SetOptions changes it.
func acceptAdopted(h *harness) {
	h.needsSystem("package net makes the listener")
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	plain, err := config.Listen(h.Context(), "tcp", "127.0.0.1:0")
	h.must(err)
	defer plain.Close()
	s, err := sock.FromTCPListener(plain.(*net.TCPListener))
	h.must(err)
	l := h.listenerOf(s)
	l.listen()
	h.turn(0)
	for i, noDelay := range []bool{true, false, true} {
		if i > 0 {
			h.must(s.SetOptions(sock.NoDelay(noDelay)))
		}
		h.connectPeers(s, 1)
		h.until("Accepted", l.has(i+1))
		h.wantOption(l.accepted[i], "an adopted listener", "TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY, !noDelay, 0)
	}
}

// wantOption checks whether an option of a connection has a value, for SO_SNDBUF and SO_RCVBUF also
// twice that (socket(7)). Systems that do not return the option are not checked.
func (h *harness) wantOption(c *conn, what, name string, level, option int, equal bool, value int) {
	h.Helper()
	fd, ok := handle.Of(c).Use()
	if !ok {
		h.Fatal("the accepted stream is closed")
	}
	defer handle.Of(c).Done()
	v, e := sys.GetInt(fd, level, option)
	if e == syscall.ENOPROTOOPT {
		return
	}
	has := v == value || level == sys.SOL_SOCKET && v == 2*value
	if e != 0 || has != equal {
		h.Errorf("%s: %s of an accepted connection is %d (%v); whether it is %d should be %v", what, name, v, e, value, equal)
	}
}

// acceptUnixOptions is acceptOptions for Unix sockets, which do not inherit the sizes of buffers.
func acceptUnixOptions(h *harness) {
	for what, later := range map[string]bool{"made with options": false, "set later": true} {
		set := []sock.Option{sock.WriteBuffer(10000), sock.ReadBuffer(20000)}
		made := set
		if later {
			made = nil
		}
		path := h.unixPath()
		s := h.listenUnix(path, made...)
		l := h.listenerOf(s)
		l.listen()
		h.turn(0)
		if later {
			h.must(s.SetOptions(set...))
		}
		c := h.conn()
		h.prepareUnix(c, path)
		h.must(c.connect())
		h.until("Accepted", l.has(1))
		h.wantOption(l.accepted[0], what, "SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, true, 10000)
		h.wantOption(l.accepted[0], what, "SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, true, 20000)
	}
}
