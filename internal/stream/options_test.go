package stream

import (
	"errors"
	"net"
	"sync"
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
	for what, c := range map[string]struct {
		o    *AcceptOptions
		want bool // after TCP_NODELAY was on
	}{
		"nil": {nil, true}, "inherited": {&AcceptOptions{}, true},
		"off": {&AcceptOptions{NoDelay: NoDelayOff}, false}, "on": {&AcceptOptions{NoDelay: NoDelayOn}, true},
	} {
		s, _ := bound(t, handle.TCPStream)
		check(t, "setsockopt", sys.SetInt(fdOf(s), sys.IPPROTO_TCP, sys.TCP_NODELAY, 1))
		c.o.Apply(fdOf(s))
		if v := getInt(s, sys.IPPROTO_TCP, sys.TCP_NODELAY); v != 0 != c.want {
			t.Errorf("%s: TCP_NODELAY is %d, want %v", what, v, c.want)
		}
	}
	s, _ := bound(t, handle.TCPStream)
	(&AcceptOptions{NoDelay: NoDelayOn, KeepAlive: &net.KeepAliveConfig{Enable: true}, ReadBuffer: 9000, WriteBuffer: 10000}).Apply(fdOf(s))
	for what, v := range map[string]int{
		"TCP_NODELAY":  getInt(s, sys.IPPROTO_TCP, sys.TCP_NODELAY),
		"SO_KEEPALIVE": getInt(s, sys.SOL_SOCKET, sys.SO_KEEPALIVE),
	} {
		if v == 0 {
			t.Errorf("%s is not set", what)
		}
	}
	for what, v := range map[string]struct{ got, want int }{
		"SO_RCVBUF": {getInt(s, sys.SOL_SOCKET, sys.SO_RCVBUF), 9000},
		"SO_SNDBUF": {getInt(s, sys.SOL_SOCKET, sys.SO_SNDBUF), 10000},
	} {
		if v.got != v.want && v.got != 2*v.want { // Linux doubles it
			t.Errorf("%s is %d, want %d", what, v.got, v.want)
		}
	}
}

// Update changes what a listener's connections get, and nil means nothing.
func TestAccepting(t *testing.T) {
	var a Accepting
	if OptionsIn(&a) != nil {
		t.Errorf("the zero value has %+v", OptionsIn(&a))
	}
	UpdateOptions(&a, func(o *AcceptOptions) { o.ReadBuffer = 1 })
	before := OptionsIn(&a)
	UpdateOptions(&a, func(o *AcceptOptions) { o.WriteBuffer = 2 })
	if o := OptionsIn(&a); *o != (AcceptOptions{ReadBuffer: 1, WriteBuffer: 2}) || before.WriteBuffer != 0 {
		t.Errorf("%+v after two updates; before the second %+v", o, before)
	}
	UpdateOptions(&a, func(o *AcceptOptions) { *o = AcceptOptions{} })
	if OptionsIn(&a) != nil {
		t.Errorf("empty options are %+v, want nil", OptionsIn(&a))
	}
}

// Concurrent updates are not lost, and readers see whole options.
func TestAcceptingConcurrently(t *testing.T) {
	const updaters, updates = 4, 500
	var a Accepting
	var wg sync.WaitGroup
	for range updaters {
		wg.Go(func() {
			for range updates {
				UpdateOptions(&a, func(o *AcceptOptions) { o.ReadBuffer++; o.WriteBuffer++ })
				if o := OptionsIn(&a); o.ReadBuffer != o.WriteBuffer {
					t.Errorf("%+v, want equal sizes", o)
				}
			}
		})
	}
	wg.Wait()
	if o := OptionsIn(&a); o.ReadBuffer != updaters*updates {
		t.Errorf("%d updates are left of %d", o.ReadBuffer, updaters*updates)
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

// A listener passes on keep-alive if its options have it, or if it is on and inherited.
func TestPassesOnKeepAlive(t *testing.T) {
	l, _ := listening(t)
	if PassesOnKeepAlive(l, nil) {
		t.Error("a listener without keep-alive passes it on")
	}
	if err := SetKeepAlive(fdOf(l), net.KeepAliveConfig{Enable: true}); err != nil {
		t.Fatal(err)
	}
	if got := PassesOnKeepAlive(l, nil); got != KeepAliveIsInherited {
		t.Errorf("keep-alive is on: passed on is %v, inherited is %v", got, KeepAliveIsInherited)
	}
	for _, on := range []bool{false, true} {
		if got := PassesOnKeepAlive(l, &AcceptOptions{KeepAlive: &net.KeepAliveConfig{Enable: on}}); got != on {
			t.Errorf("Enable of the options is %v, passed on is %v", on, got)
		}
	}
	l.Close()
	if PassesOnKeepAlive(l, nil) {
		t.Error("a closed listener passes on keep-alive")
	}
}
