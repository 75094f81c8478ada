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

// Probes of silent TCP connections, with the defaults of package net.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// The bounds of Linux (tcp(7)).
const (
	maxKeepAliveTime  = 32767 * time.Second
	maxKeepAliveCount = 127
)

// keepAliveInherited reports whether accepted connections inherit all of it from their
// listener, which saves four system calls for each. Linux does so for what its socket has
// when the connection comes; FreeBSD and macOS do, too.
const keepAliveInherited = runtime.GOOS == "linux" || runtime.GOOS == "freebsd" || runtime.GOOS == "darwin"

// SetKeepAlive sets whether and how the kernel probes whether a silent peer is still there, as
// net.TCPConn.SetKeepAliveConfig does: off unless Enable, and else with 15 s of silence before
// the first probe, 15 s between probes, and the connection given up after 9 of them, where a
// field is zero; a negative field leaves what is in force. At first it is Config.KeepAlive. The
// error is the system's for times beyond its range (tcp(7): 32,767 s, 127 probes), ErrClosed,
// or errors.ErrUnsupported of a Unix socket. Of a connection that is given up Closed gets
// ETIMEDOUT.
func (c *Conn) SetKeepAlive(k net.KeepAliveConfig) error {
	c.mu.Lock()
	shut := c.shut
	c.mu.Unlock()
	err := error(ErrClosed)
	if shut == notShut {
		err = setKeepAlive(&c.stream, k)
	}
	if err != nil {
		return c.failure("set keep-alive", err)
	}
	return nil
}

// keepAliveOf returns what Config.KeepAlive means: the zero value is on, with the defaults.
func keepAliveOf(k net.KeepAliveConfig) net.KeepAliveConfig {
	if k == (net.KeepAliveConfig{}) {
		k.Enable = true
	}
	return k
}

// checkKeepAlive reports what of Config.KeepAlive is out of range.
func checkKeepAlive(k net.KeepAliveConfig) error {
	switch {
	case !k.Enable && k.Idle >= 0 && k != (net.KeepAliveConfig{}):
		return fmt.Errorf("KeepAlive has times, but not Enable; without probes it is {Idle: -1}")
	case k.Idle > maxKeepAliveTime || k.Interval > maxKeepAliveTime || k.Count > maxKeepAliveCount:
		return fmt.Errorf("KeepAlive is %+v; its times are up to %v, its Count up to %d", k, maxKeepAliveTime, maxKeepAliveCount)
	}
	return nil
}

// keepAliveOptions returns what a listener is made with, so that what it accepts inherits it.
func (g *Group) keepAliveOptions() []sock.Option {
	return []sock.Option{sock.Control(func(fd uintptr) error {
		return applyKeepAlive(sys.FD(fd), keepAliveOf(g.config.KeepAlive))
	})}
}

// keepAliveServed prepares a listening socket that was made elsewhere. One that has
// keep-alive on already keeps its own times.
func (g *Group) keepAliveServed(l *sock.TCPListener) {
	h := l.PollHandle()
	fd, ok := h.Use()
	if !ok {
		return // serve finds out
	}
	defer h.Done()
	if on, e := sys.GetInt(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE); e == 0 && on == 0 {
		applyKeepAlive(fd, keepAliveOf(g.config.KeepAlive)) // in range; what the system refuses is left as it was
	}
}

// keepAliveAccepted sets it for an accepted connection where it is not inherited.
func (c *Conn) keepAliveAccepted() {
	if !keepAliveInherited && c.stream.PollHandle().Kind() == handle.TCPStream {
		setKeepAlive(&c.stream, keepAliveOf(c.loop.g.config.KeepAlive))
	}
}

// keepAliveDialed sets it for a connection that is about to be dialed.
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

// applyKeepAlive sets the options of a socket.
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
		return int(min(n, math.MaxInt32)) // which no system takes for less
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
		// A system that has not got the option has its own times.
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
