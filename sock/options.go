package sock

import (
	"fmt"
	"net/netip"

	"github.com/pollux-io/pollux/internal/sys"
)

// An Option changes a socket before it is bound or connected. The others are
// methods.
type Option func(*settings)

type settings struct {
	backlog      int
	reuseAddr    bool
	reusePort    bool
	v6only       bool
	recvBuffer   int
	sendBuffer   int
	local        netip.AddrPort
	localName    string
	control      func(fd uintptr) error
	delaySending bool
}

func settle(options []Option) settings {
	s := settings{backlog: sys.MaxBacklog, reuseAddr: true}
	for _, o := range options {
		o(&s)
	}
	return s
}

// Backlog sets how many connections may wait to be accepted, from 1 up. The
// system's own limit holds as well (net.core.somaxconn on Linux); without this
// option it alone does.
func Backlog(n int) Option { return func(s *settings) { s.backlog = max(n, 1) } }

// ReuseAddr sets SO_REUSEADDR. Listeners have it unless this option takes it
// away, so that a server can be started again at once; on Windows, where it would
// let others take the port, none has it.
func ReuseAddr(on bool) Option { return func(s *settings) { s.reuseAddr = on } }

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
func RecvBuffer(bytes int) Option { return func(s *settings) { s.recvBuffer = bytes } }

// SendBuffer sets SO_SNDBUF, in bytes, as RecvBuffer does for the other
// direction.
func SendBuffer(bytes int) Option { return func(s *settings) { s.sendBuffer = bytes } }

// LocalAddr binds the socket to a local address before it connects.
func LocalAddr(a netip.AddrPort) Option { return func(s *settings) { s.local = a } }

// LocalName is LocalAddr for Unix sockets: a path, or @ and an abstract name.
func LocalName(name string) Option { return func(s *settings) { s.localName = name } }

// Delay leaves Nagle's algorithm on; given to a listener, for what it accepts. TCP
// streams otherwise have TCP_NODELAY set, as Go's net package does it.
func Delay() Option { return func(s *settings) { s.delaySending = true } }

// Control has f called with the descriptor before the socket is bound or
// connected, for options that this package does not have. An error ends the
// making of the socket.
func Control(f func(fd uintptr) error) Option { return func(s *settings) { s.control = f } }

// before applies what must come before bind and connect.
func (s *settings) before(fd sys.FD, family int, listener bool) error {
	type option struct {
		name                 string
		level, number, value int
	}
	var todo []option
	if listener && s.reuseAddr && sys.ReuseAddrIsSafe {
		todo = append(todo, option{"SO_REUSEADDR", sys.SOL_SOCKET, sys.SO_REUSEADDR, 1})
	}
	if s.reusePort {
		if !sys.HasReusePort {
			return fmt.Errorf("ReusePort: %w on this system", errUnsupported)
		}
		todo = append(todo, option{"SO_REUSEPORT", sys.SOL_SOCKET, sys.SO_REUSEPORT, 1})
	}
	if family == sys.AF_INET6 {
		only := 0
		if s.v6only {
			only = 1
		}
		todo = append(todo, option{"IPV6_V6ONLY", sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, only})
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
	if s.control != nil {
		return s.control(uintptr(fd))
	}
	return nil
}
