package sock

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// An Option configures a socket before it is bound or connected. SetOptions takes ReadBuffer,
// WriteBuffer, NoDelay, KeepAlive and UserTimeout for an open socket, too. Other settings are methods
// of the socket. If an option is nil or out of range, or does not apply to the socket, the function
// that it is passed to returns ErrBadArgument and has no effect.
type Option func(*settings)

type settings struct {
	backlog     int // 0: the maximum
	reuseAddr   optionalBool
	reusePort   optionalBool
	v6only      optionalBool
	noDelay     optionalBool
	readBuffer  int // 0: not given
	writeBuffer int // 0: not given
	local       netip.AddrPort
	localName   string
	keepAlive   *net.KeepAliveConfig
	userTimeout *time.Duration
	controls    []func(fd uintptr) error
	kernel      sys.Kernel // of OnNetwork; nil: the machine's
	bad         error      // the first option that is out of range
}

// optionalBool is a bool option, or unset, which means the default.
type optionalBool uint8

const (
	unset optionalBool = iota
	disabled
	enabled
)

func optional(on bool) optionalBool {
	if on {
		return enabled
	}
	return disabled
}

func applyOptions(options []Option) settings {
	var s settings
	for _, o := range options {
		if o == nil {
			s.bad = bad("the option is nil")
			break
		}
		o(&s)
	}
	return s
}

// Backlog sets the maximum number of connections in the queue of a listener, from 1 to 2^31-1
// (listen(2)). The system's limit (net.core.somaxconn on Linux) also applies; without this option
// it is the only limit.
func Backlog(n int) Option {
	return func(s *settings) {
		s.checkRange("Backlog", n)
		s.backlog = n
	}
}

// checkRange records an error if value is less than 1 or does not fit in 32 bits.
func (s *settings) checkRange(name string, value int) {
	s.check(inRange(name, value, 1, math.MaxInt32))
}

// check records the error of an option, if it is the first.
func (s *settings) check(err error) {
	if s.bad == nil {
		s.bad = err
	}
}

// ReuseAddr sets whether an IP socket has SO_REUSEADDR. By default TCP listeners have it, so that a
// server can be restarted immediately, and other sockets do not; several sockets that receive
// from one multicast group need it. On Windows it is never set, because there it would let other
// processes take the port.
func ReuseAddr(on bool) Option {
	return func(s *settings) { s.reuseAddr = optional(on) }
}

// ReusePort sets whether an IP socket has SO_REUSEPORT: several sockets that have it may be bound to
// one address. By default it does not. Linux distributes connections and datagrams among the sockets
// (socket(7), Linux 3.9). FreeBSD does so only with SO_REUSEPORT_LB (setsockopt(2), FreeBSD 12), which
// Control can set. On Windows, illumos and Solaris the error of ReusePort(true) is
// errors.ErrUnsupported.
func ReusePort(on bool) Option {
	return func(s *settings) { s.reusePort = optional(on) }
}

// V6Only sets whether an IPv6 socket is for IPv6 only (IPV6_V6ONLY, ipv6(7)). By default, and with
// false, a socket on [::] serves IPv4 too, whatever the system's default is (net.ipv6.bindv6only on
// Linux). On OpenBSD and DragonFly every IPv6 socket is for IPv6 only, and false has no effect.
func V6Only(on bool) Option {
	return func(s *settings) { s.v6only = optional(on) }
}

// ReadBuffer sets the size of the kernel's receive buffer (SO_RCVBUF, socket(7)) in bytes, from 1 to
// 2^31-1; on a listener, for the connections. Linux limits it to net.core.rmem_max and doubles it.
// Before a TCP socket is bound or connected it can enlarge the window; later it cannot.
func ReadBuffer(bytes int) Option {
	return func(s *settings) {
		s.checkRange("ReadBuffer", bytes)
		s.readBuffer = bytes
	}
}

// WriteBuffer sets the size of the kernel's send buffer (SO_SNDBUF, socket(7)) in bytes, from 1 to
// 2^31-1; on a listener, for the connections. Linux limits it to net.core.wmem_max and doubles it.
func WriteBuffer(bytes int) Option {
	return func(s *settings) {
		s.checkRange("WriteBuffer", bytes)
		s.writeBuffer = bytes
	}
}

// LocalAddr binds an IP socket to a local address before it connects. With port 0 the system chooses
// a port.
func LocalAddr(addr netip.AddrPort) Option {
	return func(s *settings) {
		if !addr.IsValid() {
			s.check(bad("LocalAddr is the zero AddrPort"))
		}
		s.local = addr
	}
}

// LocalUnixAddr binds a Unix socket to a local name before it connects. Closing the socket does not
// remove the path; the caller must. If connecting fails, the path is removed.
func LocalUnixAddr(name string) Option {
	return func(s *settings) {
		if name == "" {
			s.check(bad("LocalUnixAddr is empty"))
		}
		s.localName = name
	}
}

// NoDelay sets TCP_NODELAY (tcp(7)) of a TCP socket; on a listener, of the connections. True, the
// default, disables Nagle's algorithm, as in package net.
func NoDelay(on bool) Option { return func(s *settings) { s.noDelay = optional(on) } }

// KeepAlive configures keep-alive probes of a TCP socket, as TCPStream.SetKeepAlive does; on a
// listener, of the connections. By default there are no probes; loops have a default of their own
// (loop.Config).
func KeepAlive(k net.KeepAliveConfig) Option {
	return func(s *settings) {
		s.check(stream.CheckKeepAlive(k))
		s.keepAlive = &k
	}
}

// UserTimeout sets how long sent bytes of a TCP socket may stay unacknowledged, as
// TCPStream.SetUserTimeout does; on a listener, those of the connections. On systems other than
// Linux the error is errors.ErrUnsupported.
func UserTimeout(d time.Duration) Option {
	return func(s *settings) {
		_, err := userTimeout(d)
		s.check(err)
		s.userTimeout = &d
	}
}

// Control calls f with the descriptor before the socket is bound or connected, for options that this
// package does not have. If f returns an error, the socket is closed, and the function that creates
// it returns that error in a *net.OpError. If there are several such options, each f is called, in
// order. f must not close the descriptor.
func Control(f func(fd uintptr) error) Option {
	return func(s *settings) {
		if f == nil {
			s.check(bad("the function of Control is nil"))
			return
		}
		s.controls = append(s.controls, f)
	}
}

// A Network is where sockets exist other than those of the operating system: a host of a simulated
// network (package loop/looptest).
type Network interface{ network }

type network = handle.Network

// OnNetwork makes the socket on a simulated network; nil means the operating system's. Its methods
// behave as those of other sockets, with these differences: loops on that network can serve it
// (loop.Config.Network), and a Poll cannot (pollux.ErrNotPollable); a function that gets the
// descriptor can use it with this package only; and the names of Unix sockets are not paths in the
// file system. A nil pointer to a host is an error (ErrBadArgument).
func OnNetwork(n Network) Option {
	return func(s *settings) {
		k, err := handle.KernelOf(n)
		if err != nil {
			s.check(fmt.Errorf("OnNetwork: %w", err))
		}
		s.kernel = k
	}
}

// setOptions is the operation of SetOptions, in errors and for validate.
const setOptions = "set options"

// validate returns an error if an option is out of range, or does not apply to a socket of the kind
// that op creates, or to an open one if op is setOptions.
func (s *settings) validate(op string, kind handle.Kind) error {
	if s.bad != nil {
		return s.bad
	}
	tcp := kind == handle.TCPStream || kind == handle.TCPListener
	ip := tcp || kind == handle.UDPSocket
	for _, o := range []struct {
		name         string
		given, suits bool
		onlyNew      bool
		purpose      string
	}{
		{"Backlog", s.backlog != 0, op == "listen", true, "sockets that listen"},
		{"ReuseAddr", s.reuseAddr != unset, ip, true, "IP sockets"},
		{"ReusePort", s.reusePort != unset, ip, true, "IP sockets"},
		{"V6Only", s.v6only != unset, ip, true, "IP sockets"},
		{"LocalAddr", s.local.IsValid(), ip && op == "connect", true, "IP sockets that connect"},
		{"LocalUnixAddr", s.localName != "", !ip && op == "connect", true, "Unix sockets that connect"},
		{"Control", len(s.controls) > 0, true, true, ""},
		{"OnNetwork", s.kernel != nil, true, true, ""},
		{"NoDelay", s.noDelay != unset, tcp, false, "TCP sockets"},
		{"KeepAlive", s.keepAlive != nil, tcp, false, "TCP sockets"},
		{"UserTimeout", s.userTimeout != nil, tcp, false, "TCP sockets"},
	} {
		switch {
		case !o.given:
		case o.onlyNew && op == setOptions:
			return bad("%s is for sockets that are not open yet, not for an open %v", o.name, kind)
		case !o.suits:
			return bad("%s is for %s, not for a %v", o.name, o.purpose, kind)
		}
	}
	switch {
	case s.userTimeout != nil && !sys.HasUserTimeout:
		return fmt.Errorf("UserTimeout: %w on this system", errUnsupported)
	case s.reusePort == enabled && !sys.HasReusePort:
		return fmt.Errorf("ReusePort: %w on this system", errUnsupported)
	}
	return nil
}
