package sock

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// An Option changes a socket before it is bound or connected. The others are
// methods. One that is out of range, or is none of such a socket, makes the making of the
// socket fail with ErrBadOption.
type Option func(*settings)

type settings struct {
	backlog      int // 0: the most
	reuseAddr    byDefault
	reusePort    bool
	v6only       bool
	recvBuffer   int
	sendBuffer   int
	local        netip.AddrPort
	localName    string
	control      func(fd uintptr) error
	delaySending bool
	bad          error // the first option that is out of range
}

// byDefault is what was said about something that has a default.
type byDefault uint8

const (
	unsaid byDefault = iota
	no
	yes
)

func settle(options []Option) settings {
	var s settings
	for _, o := range options {
		if o == nil {
			s.bad = fmt.Errorf("%w: one is nil", ErrBadOption)
			break
		}
		o(&s)
	}
	return s
}

// Backlog sets how many connections may wait to be accepted, from 1 up. The
// system's own limit holds as well (net.core.somaxconn on Linux); without this
// option it alone does.
func Backlog(n int) Option {
	return func(s *settings) {
		s.check("Backlog", n)
		s.backlog = n
	}
}

// check notes that an option is out of range, for the making of the socket to fail.
func (s *settings) check(name string, value int) {
	if err := inRange(name, value, 1, math.MaxInt32); s.bad == nil {
		s.bad = err
	}
}

// ReuseAddr sets SO_REUSEADDR, or leaves it out. TCP listeners have it without this option,
// so that a server can be started again at once; other sockets have it only with it, such
// as several that receive from one multicast group. On Windows, where it would let others
// take the port, none has it.
func ReuseAddr(on bool) Option {
	return func(s *settings) {
		s.reuseAddr = no
		if on {
			s.reuseAddr = yes
		}
	}
}

// ReusePort sets SO_REUSEPORT: several sockets may have the address. Linux spreads
// connections and datagrams over them (socket(7), Linux 3.9). FreeBSD does not:
// there SO_REUSEPORT_LB does (setsockopt(2), FreeBSD 12), which Control can set.
// Windows has none and refuses.
func ReusePort() Option { return func(s *settings) { s.reusePort = true } }

// V6Only keeps a socket on [::] from serving IPv4 too.
func V6Only() Option { return func(s *settings) { s.v6only = true } }

// RecvBuffer sets SO_RCVBUF, in bytes, before the socket is bound or connected:
// the only time at which it can widen TCP's window. Linux doubles the value for
// its own use and keeps it within net.core.rmem_max.
func RecvBuffer(bytes int) Option {
	return func(s *settings) {
		s.check("RecvBuffer", bytes)
		s.recvBuffer = bytes
	}
}

// SendBuffer sets SO_SNDBUF, in bytes, as RecvBuffer does for the other
// direction.
func SendBuffer(bytes int) Option {
	return func(s *settings) {
		s.check("SendBuffer", bytes)
		s.sendBuffer = bytes
	}
}

// LocalAddr binds a socket of IP to a local address before it connects.
func LocalAddr(a netip.AddrPort) Option { return func(s *settings) { s.local = a } }

// LocalName is LocalAddr for Unix sockets that connect: a path, or @ and an abstract name.
// The path stays when the socket is closed: remove it. If connecting fails, it is taken
// away again.
func LocalName(name string) Option { return func(s *settings) { s.localName = name } }

// Delay leaves Nagle's algorithm on; given to a listener, for what it accepts. TCP
// streams otherwise have TCP_NODELAY set, as Go's net package does it.
func Delay() Option { return func(s *settings) { s.delaySending = true } }

// Control has f called with the descriptor before the socket is bound or
// connected, for options that this package does not have. An error ends the
// making of the socket.
func Control(f func(fd uintptr) error) Option { return func(s *settings) { s.control = f } }

// suit tells which option is out of range, or none of a socket of that kind that is made
// by op; nil if all are well.
func (s *settings) suit(op string, kind handle.Kind) error {
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
		{s.reuseAddr != unsaid, ip, "ReuseAddr is for sockets of IP"},
		{s.reusePort, ip, "ReusePort is for sockets of IP"},
		{s.v6only, ip, "V6Only is for sockets of IP"},
		{s.delaySending, tcp, "Delay is for sockets of TCP"},
		{s.local.IsValid(), ip && op == "connect", "LocalAddr is for sockets of IP that connect"},
		{s.localName != "", !ip && op == "connect", "LocalName is for Unix sockets that connect"},
	} {
		if o.given && !o.suits {
			return fmt.Errorf("%w: %s, and this is to be a %v", ErrBadOption, o.what, kind)
		}
	}
	return nil
}

// before applies what must come before bind and connect.
func (s *settings) before(fd sys.FD, family int, kind handle.Kind) error {
	type option struct {
		name                 string
		level, number, value int
	}
	var todo []option
	reuseAddr := s.reuseAddr == yes || s.reuseAddr == unsaid && kind == handle.TCPListener
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
	if s.control == nil {
		return nil
	}
	if err := s.control(uintptr(fd)); err != nil {
		return err
	}
	// A duplicate may have been made, and given to a child, which leaves the socket
	// blocking: connect would wait.
	if e := sys.SetNonblock(fd); e != 0 {
		return sys.CallError("fcntl", e)
	}
	return nil
}
