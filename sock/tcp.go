package sock

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// TCPStream is one end of a TCP connection.
type TCPStream struct{ Stream }

// ConnectTCP begins to connect to addr and returns at once. Register the stream
// with interest Writable; when the event comes, ConnectError tells how it ended.
//
// The error is a *net.OpError, for what the kernel knows at once: no route, no
// descriptor left (EMFILE), a refusal on loopback.
func ConnectTCP(addr netip.AddrPort, options ...Option) (*TCPStream, error) {
	s := &TCPStream{}
	if err := ConnectTCPInto(&s.Stream, addr, options...); err != nil {
		return nil, err
	}
	return s, nil
}

// ConnectTCPInto is ConnectTCP into a Stream of the caller's, which must be new.
func ConnectTCPInto(s *Stream, addr netip.AddrPort, options ...Option) error {
	m := connecting(handle.TCPStream, options)
	a, err := m.prepareTCP(addr)
	if err == nil {
		err = m.connect(a)
	}
	if err != nil {
		return err
	}
	return m.into(s, newAttempt(a))
}

// prepareTCP makes a socket to be connected to addr.
func (m *maker) prepareTCP(addr netip.AddrPort) (*sys.Sockaddr, error) {
	a, err := m.ip(sys.SOCK_STREAM, addr)
	if err != nil {
		return nil, err
	}
	if !m.options.delaySending {
		sys.SetInt(m.fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
	}
	return &a, m.bindLocal(a.Family())
}

// LocalAddr returns the stream's own address, the zero AddrPort once it is closed.
func (s *TCPStream) LocalAddr() netip.AddrPort { return ipAddr(localAddr(&s.Descriptor)) }

// RemoteAddr returns the peer's address; the zero AddrPort while the stream is
// not connected, or is closed.
func (s *TCPStream) RemoteAddr() netip.AddrPort { return ipAddr(peerAddr(&s.Descriptor)) }

func ipAddr(a sys.Sockaddr, err error) netip.AddrPort {
	if err != nil {
		return netip.AddrPort{}
	}
	return a.AddrPort()
}

// SendUrgent sends one byte of urgent data (MSG_OOB; tcp(7)); the peer learns of
// it by Priority.
func (s *TCPStream) SendUrgent(b byte) error {
	_, err := s.send("write urgent", []byte{b}, sys.MSG_OOB)
	return err
}

// ReadUrgent takes the byte of urgent data, or returns ErrWouldBlock. The kernel
// says EINVAL if there is none.
func (s *TCPStream) ReadUrgent() (byte, error) {
	var b [1]byte
	_, err := s.recv("read urgent", b[:], sys.MSG_OOB)
	s.h.Blocked(priority) // the next one is news, whether this was there or not
	return b[0], err
}

// SetNoDelay switches Nagle's algorithm off, which it is by default, or on. A Unix
// stream has none: the system refuses.
func (s *Stream) SetNoDelay(on bool) error {
	return s.set("TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY, toInt(on))
}

// NoDelay tells whether Nagle's algorithm is off.
func (s *TCPStream) NoDelay() (bool, error) {
	v, err := s.get("TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY)
	return v != 0, err
}

// KeepAlive is when and how often a silent connection is probed (tcp(7)). Zero
// fields stay as the system has them.
type KeepAlive struct {
	// Idle is the silence before the first probe, in whole seconds, at least 1.
	Idle time.Duration
	// Interval is the time between probes, in whole seconds, at least 1.
	Interval time.Duration
	// Count is how many probes go unanswered before the connection is given up.
	Count int
}

// SetKeepAlive switches probes on, with the times of k. Fractions of seconds are
// rounded up; fields that are negative, or beyond 32 bits, are ErrBadOption. The system has
// narrower bounds (tcp(7): 32,767 seconds, 127 probes) and refuses with EINVAL what is
// outside; the fields before are set then, and probes are on.
func (s *TCPStream) SetKeepAlive(k KeepAlive) error {
	if k.Idle < 0 || k.Interval < 0 || k.Count < 0 {
		return s.failure("set SO_KEEPALIVE", fmt.Errorf("%w: %+v has negative fields", ErrBadOption, k))
	}
	values := [3]int{seconds(k.Idle), seconds(k.Interval), k.Count}
	for i, o := range keepAliveOptions { // all of them before anything is changed
		if err := inRange(o.name, values[i], 0, math.MaxInt32); err != nil {
			return s.failure("set "+o.name, err)
		}
	}
	if err := s.set("SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE, 1); err != nil {
		return err
	}
	for i, o := range keepAliveOptions {
		if values[i] == 0 {
			continue
		}
		if err := s.set(o.name, sys.IPPROTO_TCP, o.number, values[i]); err != nil {
			return err
		}
	}
	return nil
}

// KeepAlive returns the times in force, and whether probing is on. NetBSD takes the times
// and does not return them: there k is zero and the error errors.ErrUnsupported, while on is
// right.
func (s *TCPStream) KeepAlive() (k KeepAlive, on bool, err error) { return keepAlive(s.get) }

// keepAlive reads the options by get.
func keepAlive(get func(name string, level, option int) (int, error)) (k KeepAlive, on bool, err error) {
	v, err := get("SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE)
	if err != nil {
		return k, false, err
	}
	on = v != 0
	var values [3]int
	for i, o := range keepAliveOptions {
		values[i], err = get(o.name, sys.IPPROTO_TCP, o.number)
		if errors.Is(err, syscall.ENOPROTOOPT) {
			err = fmt.Errorf("%w: this system does not return the times of keep-alive (%w)", errUnsupported, err)
		}
		if err != nil {
			return k, on, err
		}
	}
	return KeepAlive{time.Duration(values[0]) * time.Second, time.Duration(values[1]) * time.Second, values[2]}, on, nil
}

// keepAliveOptions are those of the fields of KeepAlive, in their order.
var keepAliveOptions = [3]struct {
	name   string
	number int
}{
	{"TCP_KEEPIDLE", sys.TCP_KEEPIDLE},
	{"TCP_KEEPINTVL", sys.TCP_KEEPINTVL},
	{"TCP_KEEPCNT", sys.TCP_KEEPCNT},
}

// DisableKeepAlive switches probes off.
func (s *TCPStream) DisableKeepAlive() error {
	return s.set("SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE, 0)
}

// seconds rounds up; what no option takes stays too large, on 32 bits too.
func seconds(d time.Duration) int {
	return int(min(d/time.Second+min(d%time.Second, 1), math.MaxInt32))
}

// maxLinger is what all systems have room for: 16 bits, signed.
const maxLinger = math.MaxInt16

// SetLinger sets what Close does with bytes not yet sent. Negative (the default):
// the kernel goes on sending. Zero: it drops them and resets the connection. More:
// it goes on for that time, in whole seconds up to 32,767; a Close may then block in the kernel
// for as long, so prefer CloseWrite and a timeout of your own.
func (s *Stream) SetLinger(d time.Duration) error {
	if err := inRange("SO_LINGER", seconds(max(d, 0)), 0, maxLinger); err != nil {
		return s.failure("set SO_LINGER", err)
	}
	return s.use("set SO_LINGER", func(fd sys.FD) error {
		if e := sys.SetLinger(fd, d >= 0, seconds(max(d, 0))); e != 0 {
			return s.failed("set SO_LINGER", "setsockopt", e)
		}
		return nil
	})
}

// SetUserTimeout sets for how long sent data may stay unacknowledged before the
// connection is given up (RFC 5482), in milliseconds; zero is the system's own
// choice. Systems other than Linux have none: errors.ErrUnsupported.
func (s *TCPStream) SetUserTimeout(d time.Duration) error {
	if !sys.HasUserTimeout {
		return s.failure("set TCP_USER_TIMEOUT", errUnsupported)
	}
	ms := d/time.Millisecond + min(d%time.Millisecond, 1)
	if ms < 0 || ms > math.MaxInt32 {
		return s.failure("set TCP_USER_TIMEOUT", fmt.Errorf("%w: %v; it goes from 0 to %v", ErrBadOption, d, math.MaxInt32*time.Millisecond))
	}
	return s.set("TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, int(ms))
}

// UserTimeout returns what SetUserTimeout has set.
func (s *TCPStream) UserTimeout() (time.Duration, error) {
	if !sys.HasUserTimeout {
		return 0, s.failure("get TCP_USER_TIMEOUT", errUnsupported)
	}
	v, err := s.get("TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT)
	return time.Duration(v) * time.Millisecond, err
}

// TCPListener accepts TCP connections.
type TCPListener struct {
	Descriptor
	asBorn bool // what is accepted stays as it is: it has TCP_NODELAY already, or must not
	delays bool // it must not
}

// ListenTCP listens at addr. Port 0 takes a free port: Addr tells which. [::]
// serves IPv4 as well, unless V6Only is given. The error is a *net.OpError: the system's
// (EADDRINUSE, EACCES for a low port, EADDRNOTAVAIL, EMFILE), ErrBadOption, or that addr is
// not valid.
func ListenTCP(addr netip.AddrPort, options ...Option) (*TCPListener, error) {
	m := maker{op: "listen", kind: handle.TCPListener, options: settle(options)}
	a, err := m.ip(sys.SOCK_STREAM, addr)
	if err != nil {
		return nil, err
	}
	l := &TCPListener{asBorn: m.options.delaySending, delays: m.options.delaySending}
	if sys.NoDelayIsInherited && !l.asBorn {
		e := sys.SetInt(m.fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
		l.asBorn = e == 0 // saves a call for each connection
	}
	if err := m.listen(&a); err != nil {
		return nil, err
	}
	m.initListener(&l.Descriptor)
	return l, nil
}

// Accept takes the next connection off the queue, or returns ErrWouldBlock. With
// an Edge registration go on until it does. Out of descriptors (EMFILE, ENFILE)
// the connection stays in the queue, and no new event tells of it.
func (l *TCPListener) Accept() (*TCPStream, error) {
	s := &TCPStream{}
	if err := l.AcceptInto(&s.Stream); err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptInto is Accept into a Stream of the caller's, which must be new.
func (l *TCPListener) AcceptInto(s *Stream) error {
	_, err := l.AcceptFrom(s)
	return err
}

// AcceptFrom is AcceptInto that returns the peer's address, too. If the peer has reset the
// connection meanwhile, RemoteAddr does not know it any more.
func (l *TCPListener) AcceptFrom(s *Stream) (netip.AddrPort, error) {
	from, err := acceptInto(&l.Descriptor, s, handle.TCPStream)
	if err != nil {
		return netip.AddrPort{}, err
	}
	peer := from.AddrPort()
	if l.asBorn {
		return peer, nil
	}
	// A connection that was reset meanwhile refuses; reading it tells that better.
	if fd, ok := s.h.Use(); ok {
		sys.SetInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
		s.h.Done()
	}
	return peer, nil
}

// StopListening has the system refuse connections from now on, for every descriptor of the
// socket, while this one stays open; to be closed is what remains. Systems other than Linux
// do that by Close alone: there it does nothing.
func (l *TCPListener) StopListening() error { return stopListening(&l.Descriptor) }

// Addr returns the address listened at, the zero AddrPort once it is closed.
func (l *TCPListener) Addr() netip.AddrPort { return ipAddr(localAddr(&l.Descriptor)) }
