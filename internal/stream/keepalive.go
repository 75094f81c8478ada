package stream

import (
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/sys"
)

// Defaults of package net for keep-alive probes.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// KeepAliveIsInherited reports whether accepted connections inherit all keep-alive options from
// their listener, which saves four system calls for each. Linux copies what the listener has
// when the connection arrives; FreeBSD and macOS inherit them, too.
const KeepAliveIsInherited = runtime.GOOS == "linux" || runtime.GOOS == "freebsd" || runtime.GOOS == "darwin"

// Upper bounds on Linux (tcp(7)).
const (
	maxKeepAliveTime  = 32767 * time.Second
	maxKeepAliveCount = 127
)

// CheckKeepAlive returns an error if a field is larger than Linux accepts.
func CheckKeepAlive(k net.KeepAliveConfig) error {
	if k.Enable && (k.Idle > maxKeepAliveTime || k.Interval > maxKeepAliveTime || k.Count > maxKeepAliveCount) {
		return fmt.Errorf("%w: KeepAlive is %+v; its times must be at most %v, and its Count at most %d",
			misuse.ErrBadArgument, k, maxKeepAliveTime, maxKeepAliveCount)
	}
	return nil
}

// SetKeepAlive configures keep-alive probes as net.TCPConn.SetKeepAliveConfig does: SetKeepAlive
// of this package, for a stream. The error is errors.ErrUnsupported for a Unix socket, and
// net.ErrClosed.
func (s Stream) SetKeepAlive(k net.KeepAliveConfig) error {
	if s.Handle.Kind() != handle.TCPStream {
		return errors.ErrUnsupported
	}
	fd, ok := s.Handle.Use()
	if !ok {
		return net.ErrClosed
	}
	defer s.Handle.Done()
	return SetKeepAlive(fd, k)
}

// PassesOnKeepAlive reports whether connections get keep-alive probes from the listener h, whose
// AcceptOptions are o: by inheritance, or because the options have them.
func PassesOnKeepAlive(h *handle.Handle, o *AcceptOptions) bool {
	if o != nil && o.KeepAlive != nil {
		return o.KeepAlive.Enable
	}
	if !KeepAliveIsInherited {
		return false
	}
	fd, ok := h.Use()
	if !ok {
		return false
	}
	defer h.Done()
	on, e := sys.GetInt(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE)
	return e == 0 && on != 0
}

// SetKeepAlive configures keep-alive probes: off unless k.Enable is set, and otherwise the
// default of package net for a field that is zero; a negative field leaves the value in force.
// The error is the system's for a value out of its range. It may have set other values by then.
func SetKeepAlive(fd sys.FD, k net.KeepAliveConfig) error {
	if !k.Enable {
		return setInt(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE, 0)
	}
	count := k.Count
	if count == 0 {
		count = keepAliveCount
	}
	for _, o := range []struct {
		keep          bool
		number, value int
	}{
		{k.Idle < 0, sys.TCP_KEEPIDLE, seconds(k.Idle, keepAliveIdle)},
		{k.Interval < 0, sys.TCP_KEEPINTVL, seconds(k.Interval, keepAliveInterval)},
		{count < 0, sys.TCP_KEEPCNT, min(count, math.MaxInt32)},
	} {
		if o.keep {
			continue
		}
		// A system without the option has its own times.
		if err := setInt(fd, sys.IPPROTO_TCP, o.number, o.value); err != nil && !errors.Is(err, syscall.ENOPROTOOPT) {
			return err
		}
	}
	return setInt(fd, sys.SOL_SOCKET, sys.SO_KEEPALIVE, 1)
}

// seconds returns d, or usual if d is zero, in seconds, rounded up. It returns at most
// MaxInt32, so that no system reads a smaller value.
func seconds(d, usual time.Duration) int {
	if d == 0 {
		d = usual
	}
	n := d / time.Second
	if d%time.Second > 0 {
		n++
	}
	return int(min(n, math.MaxInt32))
}

func setInt(fd sys.FD, level, option, value int) error {
	if e := sys.SetInt(fd, level, option, value); e != 0 {
		return sys.CallError("setsockopt", e)
	}
	return nil
}
