package sock

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// An Option configures a socket before it is bound or connected. Other settings are
// methods of the socket. If an option is out of range, or does not apply to the kind of
// socket, the function that creates the socket fails with ErrBadArgument.
type Option func(*settings)

type settings struct {
	backlog      int // 0: the maximum
	reuseAddr    optionalBool
	reusePort    bool
	v6only       bool
	recvBuffer   int
	sendBuffer   int
	local        netip.AddrPort
	localName    string
	control      func(fd uintptr) error
	inherited    *stream.Inherited
	delaySending bool
	bad          error // the first option that is out of range
}

// optionalBool is a bool option, or unset, which means the default.
type optionalBool uint8

const (
	unset optionalBool = iota
	disabled
	enabled
)

func applyOptions(options []Option) settings {
	var s settings
	for _, o := range options {
		if o == nil {
			s.bad = fmt.Errorf("%w: the option is nil", ErrBadArgument)
			break
		}
		o(&s)
	}
	return s
}

// Backlog sets the maximum number of connections in the accept queue, 1 or more. The
// system's limit (net.core.somaxconn on Linux) also applies; without this option it is the
// only limit.
func Backlog(n int) Option {
	return func(s *settings) {
		s.checkRange("Backlog", n)
		s.backlog = n
	}
}

// checkRange records an error if value is less than 1 or does not fit in 32 bits.
func (s *settings) checkRange(name string, value int) {
	if err := inRange(name, value, 1, math.MaxInt32); s.bad == nil {
		s.bad = err
	}
}

// ReuseAddr sets whether the socket has SO_REUSEADDR. By default TCP listeners have it, so
// that a server can be restarted immediately, and other sockets do not; several sockets
// that receive from one multicast group need it. On Windows it is never set, because there
// it would let other processes take the port.
func ReuseAddr(on bool) Option {
	return func(s *settings) {
		s.reuseAddr = disabled
		if on {
			s.reuseAddr = enabled
		}
	}
}

// ReusePort sets SO_REUSEPORT: several sockets may be bound to the address. Linux
// distributes connections and datagrams among them (socket(7), Linux 3.9). FreeBSD does
// that only with SO_REUSEPORT_LB (setsockopt(2), FreeBSD 12), which Control can set. On
// Windows and Solaris the error is errors.ErrUnsupported.
func ReusePort() Option { return func(s *settings) { s.reusePort = true } }

// V6Only makes a socket on [::] serve IPv6 only, not IPv4 too.
func V6Only() Option { return func(s *settings) { s.v6only = true } }

// ReadBuffer sets SO_RCVBUF, in bytes, before the socket is bound or connected: only then
// can it enlarge the TCP window. Linux doubles the value for its own use and limits it to
// net.core.rmem_max.
func ReadBuffer(bytes int) Option {
	return func(s *settings) {
		s.checkRange("ReadBuffer", bytes)
		s.recvBuffer = bytes
	}
}

// WriteBuffer sets SO_SNDBUF, in bytes, before the socket is bound or connected.
func WriteBuffer(bytes int) Option {
	return func(s *settings) {
		s.checkRange("WriteBuffer", bytes)
		s.sendBuffer = bytes
	}
}

// LocalAddr binds an IP socket to a local address before it connects.
func LocalAddr(a netip.AddrPort) Option { return func(s *settings) { s.local = a } }

// LocalName binds a Unix socket to a local name before it connects: a path, or @ and an
// abstract name. Closing the socket does not remove the path; the caller must. If
// connecting fails, the path is removed.
func LocalName(name string) Option { return func(s *settings) { s.localName = name } }

// Delay leaves Nagle's algorithm enabled; on a listener, for the accepted streams. Without
// it, TCP streams have TCP_NODELAY set, as in package net.
func Delay() Option { return func(s *settings) { s.delaySending = true } }

// Control calls f with the descriptor before the socket is bound or connected, for options
// that this package does not have. If f returns an error, creating the socket fails.
func Control(f func(fd uintptr) error) Option { return func(s *settings) { s.control = f } }

// Inherited is for the packages of this module: it sets what the connections of a listener inherit.
func Inherited(i stream.Inherited) Option { return func(s *settings) { s.inherited = &i } }

// validate returns an error if an option is out of range or does not apply to a socket of the
// kind that op creates.
func (s *settings) validate(op string, kind handle.Kind) error {
	if s.bad != nil {
		return s.bad
	}
	tcp := kind == handle.TCPStream || kind == handle.TCPListener
	ip := tcp || kind == handle.UDPSocket
	for _, o := range []struct {
		given, suits bool
		what         string
	}{
		{s.backlog != 0, op == "listen", "Backlog is for sockets that listen"},
		{s.reuseAddr != unset, ip, "ReuseAddr is for IP sockets"},
		{s.reusePort, ip, "ReusePort is for IP sockets"},
		{s.v6only, ip, "V6Only is for IP sockets"},
		{s.delaySending, tcp, "Delay is for TCP sockets"},
		{s.inherited != nil, kind == handle.TCPListener, "Inherited is for TCP listeners"},
		{s.local.IsValid(), ip && op == "connect", "LocalAddr is for IP sockets that connect"},
		{s.localName != "", !ip && op == "connect", "LocalName is for Unix sockets that connect"},
	} {
		if o.given && !o.suits {
			return fmt.Errorf("%w: %s, not for a %v", ErrBadArgument, o.what, kind)
		}
	}
	return nil
}

// apply sets the options that must be set before bind and connect.
func (s *settings) apply(fd sys.FD, family int, kind handle.Kind) error {
	type option struct {
		name                 string
		level, number, value int
	}
	var todo []option
	reuseAddr := s.reuseAddr == enabled || s.reuseAddr == unset && kind == handle.TCPListener
	if reuseAddr && sys.ReuseAddrIsSafe {
		todo = append(todo, option{"SO_REUSEADDR", sys.SOL_SOCKET, sys.SO_REUSEADDR, 1})
	}
	if s.reusePort {
		if !sys.HasReusePort {
			return fmt.Errorf("ReusePort: %w on this system", errUnsupported)
		}
		todo = append(todo, option{"SO_REUSEPORT", sys.SOL_SOCKET, sys.SO_REUSEPORT, 1})
	}
	if family == sys.AF_INET6 {
		todo = append(todo, option{"IPV6_V6ONLY", sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, toInt(s.v6only)})
	}
	if s.recvBuffer > 0 {
		todo = append(todo, option{"SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, s.recvBuffer})
	}
	if s.sendBuffer > 0 {
		todo = append(todo, option{"SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, s.sendBuffer})
	}
	for _, o := range todo {
		if e := sys.SetInt(fd, o.level, o.number, o.value); e != 0 {
			return fmt.Errorf("%s=%d: %w", o.name, o.value, sys.CallError("setsockopt", e))
		}
	}
	if s.inherited != nil {
		if err := s.inherited.Apply(fd); err != nil {
			return err
		}
	}
	if s.control == nil {
		return nil
	}
	if err := s.control(uintptr(fd)); err != nil {
		return err
	}
	// control may have passed a duplicate to a child, which makes the socket blocking:
	// connect would block.
	if e := sys.SetNonblock(fd); e != 0 {
		return sys.CallError("fcntl", e)
	}
	return nil
}
