package loop

import (
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Defaults of package net for keep-alive probes.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// Upper bounds on Linux (tcp(7)).
const (
	maxKeepAliveTime  = 32767 * time.Second
	maxKeepAliveCount = 127
)

// keepAliveInherited reports whether accepted connections inherit all keep-alive options from
// their listener, which saves four system calls for each. Linux copies what the listener has
// when the connection arrives; FreeBSD and macOS inherit them, too.
const keepAliveInherited = runtime.GOOS == "linux" || runtime.GOOS == "freebsd" || runtime.GOOS == "darwin"

// SetKeepAlive configures the kernel's keep-alive probes of a silent peer, as
// net.TCPConn.SetKeepAliveConfig does: off unless Enable is set, and otherwise, where a field is
// zero, 15 s of silence before the first probe, 15 s between probes, and the connection dropped
// after 9 of them; a negative field leaves the value in force. The default is Config.KeepAlive.
// The error is the system's for values out of its range (tcp(7): 32,767 s, 127 probes),
// ErrClosed, or errors.ErrUnsupported for a Unix socket. When keep-alive drops a connection,
// Closed gets ETIMEDOUT.
func (c *Conn) SetKeepAlive(k net.KeepAliveConfig) error {
	err := error(ErrClosed)
	if !c.ends() {
		err = setKeepAlive(&c.stream, k)
	}
	if err != nil {
		return c.opError("set keep-alive", err)
	}
	return nil
}

// keepAliveOf applies the default of Config.KeepAlive: the zero value is on, with the defaults.
func keepAliveOf(k net.KeepAliveConfig) net.KeepAliveConfig {
	if k == (net.KeepAliveConfig{}) {
		k.Enable = true
	}
	return k
}

// checkKeepAlive returns an error if Config.KeepAlive is invalid.
func checkKeepAlive(k net.KeepAliveConfig) error {
	switch {
	case !k.Enable && k.Idle >= 0 && k != (net.KeepAliveConfig{}):
		return fmt.Errorf("KeepAlive has times, but not Enable; set Enable, or {Idle: -1} for no probes")
	case k.Idle > maxKeepAliveTime || k.Interval > maxKeepAliveTime || k.Count > maxKeepAliveCount:
		return fmt.Errorf("KeepAlive is %+v; its times must be at most %v, and its Count at most %d", k, maxKeepAliveTime, maxKeepAliveCount)
	}
	return nil
}

// keepAliveOptions returns the socket options of a listener, which accepted connections inherit.
func (g *Group) keepAliveOptions() []sock.Option {
	return []sock.Option{sock.Control(func(fd uintptr) error {
		return applyKeepAlive(sys.FD(fd), keepAliveOf(g.config.KeepAlive))
	})}
}

// keepAliveServed sets keep-alive on a listening socket that was made elsewhere. One that has it
// on already keeps its own times.
func (g *Group) keepAliveServed(l *sock.TCPListener) {
	h := l.PollHandle()
	fd, ok := h.Use()
	if !ok {
		return // serve will fail
	}
	defer h.Done()
	if on, e := sys.GetInt(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE); e == 0 && on == 0 {
		applyKeepAlive(fd, keepAliveOf(g.config.KeepAlive)) // the values are valid; if the system refuses one, the socket keeps its own
	}
}

// keepAliveAccepted sets keep-alive on an accepted connection if it is not inherited.
func (c *Conn) keepAliveAccepted() {
	if !keepAliveInherited && c.stream.PollHandle().Kind() == handle.TCPStream {
		setKeepAlive(&c.stream, keepAliveOf(c.loop.g.config.KeepAlive))
	}
}

// keepAliveDialed sets keep-alive on a connection that is about to be dialed.
func (c *Conn) keepAliveDialed() error {
	return setKeepAlive(&c.stream, keepAliveOf(c.loop.g.config.KeepAlive))
}

func setKeepAlive(s *driver.Stream, k net.KeepAliveConfig) error {
	h := s.PollHandle()
	if h.Kind() != handle.TCPStream {
		return errors.ErrUnsupported
	}
	fd, ok := h.Use()
	if !ok {
		return ErrClosed
	}
	defer h.Done()
	return applyKeepAlive(fd, k)
}

// applyKeepAlive sets the keep-alive options of a socket.
func applyKeepAlive(fd sys.FD, k net.KeepAliveConfig) error {
	if !k.Enable {
		return setOption(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE, 0)
	}
	seconds := func(d, zero time.Duration) int {
		if d == 0 {
			d = zero
		}
		n := d / time.Second
		if d%time.Second > 0 {
			n++
		}
		return int(min(n, math.MaxInt32)) // so that no system reads a smaller value
	}
	count := k.Count
	if count == 0 {
		count = keepAliveCount
	}
	for _, o := range []struct{ name, value int }{
		{sys.TCP_KEEPIDLE, seconds(k.Idle, keepAliveIdle)},
		{sys.TCP_KEEPINTVL, seconds(k.Interval, keepAliveInterval)},
		{sys.TCP_KEEPCNT, min(count, math.MaxInt32)},
	} {
		if o.value < 0 || k.Idle < 0 && o.name == sys.TCP_KEEPIDLE || k.Interval < 0 && o.name == sys.TCP_KEEPINTVL {
			continue
		}
		// A system without the option has its own times.
		if err := setOption(fd, sys.IPPROTO_TCP, o.name, o.value); err != nil && !errors.Is(err, syscall.ENOPROTOOPT) {
			return err
		}
	}
	return setOption(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE, 1)
}

func setOption(fd sys.FD, level, option, value int) error {
	if e := sys.SetInt(fd, level, option, value); e != 0 {
		return sys.CallError("setsockopt", e)
	}
	return nil
}
