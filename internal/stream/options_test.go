package stream

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// getInt returns an option of a TCP socket, or -1 if the system does not return it.
func getInt(h *handle.Handle, level, option int) int {
	v, e := sys.GetInt(fdOf(h), level, option)
	if e != 0 {
		return -1
	}
	return v
}

// Apply sets what the options have, and nothing else.
func TestAcceptOptions(t *testing.T) {
	for _, noDelay := range []bool{false, true} {
		s, _ := bound(t, handle.TCPStream)
		check(t, "setsockopt", AcceptOptions{NoDelay: noDelay}.Apply(fdOf(s)))
		if v := getInt(s, sys.IPPROTO_TCP, sys.TCP_NODELAY); v != 0 != noDelay {
			t.Errorf("NoDelay is %v, TCP_NODELAY is %d", noDelay, v)
		}
	}
}

type probes struct{ on, idle, interval, count int }

func probesOf(h *handle.Handle) probes {
	return probes{
		getInt(h, sys.SOL_SOCKET, sys.SO_KEEPALIVE),
		getInt(h, sys.IPPROTO_TCP, sys.TCP_KEEPIDLE),
		getInt(h, sys.IPPROTO_TCP, sys.TCP_KEEPINTVL),
		getInt(h, sys.IPPROTO_TCP, sys.TCP_KEEPCNT),
	}
}

// Zero fields are the defaults of package net, negative ones leave the value in force, and
// fractions of seconds are rounded up.
func TestSetKeepAlive(t *testing.T) {
	h, _ := bound(t, handle.TCPStream)
	s := Stream{Handle: h}
	if p := probesOf(h); p.idle < 0 || p.interval < 0 || p.count < 0 {
		t.Skip("skipped: this system does not return the times")
	}
	set := func(k net.KeepAliveConfig) probes {
		t.Helper()
		if err := s.SetKeepAlive(k); err != nil {
			t.Fatalf("%+v: %v", k, err)
		}
		p := probesOf(h)
		p.on = min(p.on, 1) // the BSDs return the flag's value
		return p
	}
	if p := set(net.KeepAliveConfig{Enable: true}); p != (probes{1, 15, 15, 9}) {
		t.Errorf("the defaults are %+v", p)
	}
	if p := set(net.KeepAliveConfig{Enable: true, Idle: 7*time.Second + 1, Interval: -1, Count: 3}); p != (probes{1, 8, 15, 3}) {
		t.Errorf("Idle and Count set: %+v", p)
	}
	if p := set(net.KeepAliveConfig{Enable: true, Idle: -1, Interval: 5 * time.Second, Count: -1}); p != (probes{1, 8, 5, 3}) {
		t.Errorf("Interval set: %+v", p)
	}
	if p := set(net.KeepAliveConfig{}); p.on != 0 {
		t.Errorf("disabled: %+v", p)
	}
}

// Keep-alive does not apply to a Unix socket, and not to a closed one.
func TestSetKeepAliveErrors(t *testing.T) {
	h, _ := bound(t, handle.UnixStream) // only the kind counts
	if err := (Stream{Handle: h}).SetKeepAlive(net.KeepAliveConfig{Enable: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a Unix socket: %v, want ErrUnsupported", err)
	}
	h, _ = bound(t, handle.TCPStream)
	h.Close()
	if err := (Stream{Handle: h}).SetKeepAlive(net.KeepAliveConfig{Enable: true}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed socket: %v, want ErrClosed", err)
	}
}

// A listener that has keep-alive enabled keeps its own times.
func TestEnableKeepAlive(t *testing.T) {
	l, _ := listening(t)
	EnableKeepAlive(l, net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second})
	before := probesOf(l)
	if before.on == 0 || before.idle != 40 && before.idle != -1 {
		t.Errorf("enabled: %+v, want 40 s", before)
	}
	EnableKeepAlive(l, net.KeepAliveConfig{Enable: true, Idle: 50 * time.Second})
	if p := probesOf(l); p != before {
		t.Errorf("enabled again: %+v, want %+v as before", p, before)
	}
	l.Close()
	EnableKeepAlive(l, net.KeepAliveConfig{Enable: true}) // does nothing
}
