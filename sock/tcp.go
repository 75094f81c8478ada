package sock

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// A TCPStream is one end of a TCP connection, or an attempt to connect.
type TCPStream struct{ Stream }

// ConnectTCP starts connecting to addr and returns immediately. Register the stream with interest
// Writable; after its event, ConnectError returns the outcome.
//
// The error is a *net.OpError with ErrBadArgument, for an invalid addr too, or with what the system
// reports immediately, such as ENETUNREACH, EMFILE, or ECONNREFUSED for an address of this host.
func ConnectTCP(addr netip.AddrPort, options ...Option) (*TCPStream, error) {
	s := &TCPStream{}
	if err := ConnectTCPInto(&s.Stream, addr, options...); err != nil {
		return nil, err
	}
	return s, nil
}

// ConnectTCPInto is ConnectTCP for a Stream that the caller allocates. s must be a zero value;
// otherwise the error is ErrBadArgument.
func ConnectTCPInto(s *Stream, addr netip.AddrPort, options ...Option) error {
	m := streamMaker(handle.TCPStream, s, options)
	a, err := m.prepareTCP(addr)
	if err != nil {
		return err
	}
	return m.connectStream(s, a)
}

// prepareTCP creates a socket that will be connected to addr.
func (m *maker) prepareTCP(addr netip.AddrPort) (*sys.Sockaddr, error) {
	a, err := m.openIP(sys.SOCK_STREAM, addr)
	if err != nil {
		return nil, err
	}
	return &a, m.bindLocal(a.Family())
}

// LocalAddr returns the stream's local address, or the zero AddrPort if it is closed.
func (s *TCPStream) LocalAddr() netip.AddrPort { return ipAddr(localAddr(&s.Descriptor)) }

// RemoteAddr returns the peer's address, or the zero AddrPort if the stream is not
// connected or is closed.
func (s *TCPStream) RemoteAddr() netip.AddrPort { return ipAddr(peerAddr(&s.Descriptor)) }

func ipAddr(a sys.Sockaddr, err error) netip.AddrPort {
	if err != nil {
		return netip.AddrPort{}
	}
	return a.AddrPort()
}

// SendUrgent sends one byte of urgent data (MSG_OOB; tcp(7)), or returns ErrWouldBlock. The peer's
// Poll reports it as Priority.
func (s *TCPStream) SendUrgent(b byte) error {
	_, err := s.stream().Send("write urgent", []byte{b}, sys.MSG_OOB)
	return err
}

// ReadUrgent reads the byte of urgent data, or returns ErrWouldBlock if it is announced but has not
// arrived. If there is no urgent data, the error is EINVAL.
func (s *TCPStream) ReadUrgent() (byte, error) {
	var b [1]byte
	_, err := s.stream().Recv("read urgent", b[:], sys.MSG_OOB)
	s.h().Rearm(priority) // re-arm, whether or not there was a byte
	return b[0], err
}

// SetNoDelay sets TCP_NODELAY (tcp(7)): true, the default, disables Nagle's algorithm. On a Unix
// stream the error is the system's, such as EOPNOTSUPP.
func (s *Stream) SetNoDelay(on bool) error {
	return s.set("TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY, toInt(on))
}

// NoDelay reports whether Nagle's algorithm is disabled.
func (s *TCPStream) NoDelay() (bool, error) {
	v, err := s.get("TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY)
	return v != 0, err
}

// SetKeepAlive configures keep-alive probes on a silent connection (tcp(7)), as
// net.TCPConn.SetKeepAliveConfig does. Unless Enable is set there are no probes, and the other
// fields have no meaning. A field that is zero means the default: 15 s of silence before the first
// probe, 15 s between probes, and the end of the connection, ETIMEDOUT, after 9 unanswered ones. A
// negative field leaves the value in force. Fractions of seconds are rounded up. Times of more than
// 32,767 s and a Count of more than 127, the limits of Linux, are ErrBadArgument on every system. A
// system that cannot set one of the values uses its own.
func (s *TCPStream) SetKeepAlive(k net.KeepAliveConfig) error {
	if err := stream.CheckKeepAlive(k); err != nil {
		return s.opError("set keep-alive", err)
	}
	return s.withFD("set keep-alive", func(fd sys.FD) error {
		if err := stream.SetKeepAlive(fd, k); err != nil {
			return s.opError("set keep-alive", err)
		}
		return nil
	})
}

// KeepAlive returns the configuration of keep-alive probes that is in force. NetBSD accepts the
// times and the count and does not return them: there the error is errors.ErrUnsupported, and only
// Enable is valid.
func (s *TCPStream) KeepAlive() (net.KeepAliveConfig, error) { return keepAlive(s.get) }

// keepAlive reads the options with get.
func keepAlive(get func(name string, level, option int) (int, error)) (k net.KeepAliveConfig, err error) {
	v, err := get("SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE)
	if err != nil {
		return k, err
	}
	on := net.KeepAliveConfig{Enable: v != 0}
	var values [3]int
	for i, o := range keepAliveOptions {
		values[i], err = get(o.name, sys.IPPROTO_TCP, o.number)
		if errors.Is(err, syscall.ENOPROTOOPT) {
			err = fmt.Errorf("%w: this system does not return the keep-alive times (%w)", errUnsupported, err)
		}
		if err != nil {
			return on, err
		}
	}
	return net.KeepAliveConfig{
		Enable:   on.Enable,
		Idle:     time.Duration(values[0]) * time.Second,
		Interval: time.Duration(values[1]) * time.Second,
		Count:    values[2],
	}, nil
}

// keepAliveOptions are the socket options of Idle, Interval and Count.
var keepAliveOptions = [3]struct {
	name   string
	number int
}{
	{"TCP_KEEPIDLE", sys.TCP_KEEPIDLE},
	{"TCP_KEEPINTVL", sys.TCP_KEEPINTVL},
	{"TCP_KEEPCNT", sys.TCP_KEEPCNT},
}

// seconds rounds up to whole seconds, limited to MaxInt32, which no option accepts.
func seconds(d time.Duration) int {
	return int(min(d/time.Second+min(d%time.Second, 1), math.MaxInt32))
}

// maxLinger is the largest value that all systems accept: 16 bits, signed.
const maxLinger = math.MaxInt16

// SetLinger sets what Close does with unsent bytes (SO_LINGER, socket(7)). If d is negative (the
// default), the kernel continues to send them. If d is zero, it drops them and resets the
// connection. If d is positive, it continues for that time, rounded up to whole seconds, at most
// 32,767; Close may then block for as long, so prefer CloseWrite and a timeout of your own.
func (s *Stream) SetLinger(d time.Duration) error {
	if err := inRange("SO_LINGER", seconds(max(d, 0)), 0, maxLinger); err != nil {
		return s.opError("set SO_LINGER", err)
	}
	return s.withFD("set SO_LINGER", func(fd sys.FD) error {
		if e := sys.SetLinger(fd, d >= 0, seconds(max(d, 0))); e != 0 {
			return s.callError("set SO_LINGER", "setsockopt", e)
		}
		return nil
	})
}

// SetUserTimeout sets how long sent bytes may stay unacknowledged before the connection ends with
// ETIMEDOUT (TCP_USER_TIMEOUT, tcp(7); RFC 5482): from 0 to 2^31-1 ms, fractions of milliseconds
// rounded up; zero means the system's default. On systems other than Linux the error is
// errors.ErrUnsupported.
func (s *TCPStream) SetUserTimeout(d time.Duration) error {
	if !sys.HasUserTimeout {
		return s.opError("set TCP_USER_TIMEOUT", errUnsupported)
	}
	ms, err := userTimeout(d)
	if err != nil {
		return s.opError("set TCP_USER_TIMEOUT", err)
	}
	return s.set("TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, ms)
}

// userTimeout returns d in milliseconds, or an error if it is out of range.
func userTimeout(d time.Duration) (ms int, err error) {
	const most = math.MaxInt32 * time.Millisecond
	if d < 0 || d > most {
		return 0, bad("UserTimeout is %v; the range is 0 to %v", d, most)
	}
	return int(d/time.Millisecond + min(d%time.Millisecond, 1)), nil
}

// UserTimeout returns the timeout that SetUserTimeout or the option UserTimeout has set, rounded up
// to milliseconds, or zero. On systems other than Linux the error is errors.ErrUnsupported.
func (s *TCPStream) UserTimeout() (time.Duration, error) {
	if !sys.HasUserTimeout {
		return 0, s.opError("get TCP_USER_TIMEOUT", errUnsupported)
	}
	v, err := s.get("TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT)
	return time.Duration(v) * time.Millisecond, err
}

// A TCPListener accepts TCP connections.
type TCPListener struct {
	Descriptor
	accepting
}

type accepting = stream.Accepting

// ListenTCP listens on addr. With port 0 the system chooses a free port, which Addr returns. [::]
// includes the IPv4 addresses, unless V6Only(true) is given. The error is a *net.OpError with
// ErrBadArgument, for an invalid addr too, or with the system's error (EADDRINUSE, EACCES for a port
// that is reserved, EADDRNOTAVAIL, EMFILE).
func ListenTCP(addr netip.AddrPort, options ...Option) (*TCPListener, error) {
	l := &TCPListener{}
	m := maker{op: "listen", kind: handle.TCPListener, options: applyOptions(options), accepting: &l.accepting}
	a, err := m.openIP(sys.SOCK_STREAM, addr)
	if err != nil {
		return nil, err
	}
	if err := m.listen(&a); err != nil {
		return nil, err
	}
	m.initListener(&l.Descriptor)
	return l, nil
}

// Accept takes the next connection off the queue, or returns ErrWouldBlock. With an Edge
// registration, accept until it does. Other errors are of type *net.OpError. If the process or
// the system is out of file descriptors (EMFILE, ENFILE), the connection stays in the queue, and
// with Edge no event reports it again.
func (l *TCPListener) Accept() (*TCPStream, error) {
	s := &TCPStream{}
	if err := l.AcceptInto(&s.Stream); err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptInto is Accept for a Stream that the caller allocates. s must be a zero value; otherwise the
// error is ErrBadArgument.
func (l *TCPListener) AcceptInto(s *Stream) error {
	_, err := l.AcceptFrom(s)
	return err
}

// AcceptFrom is AcceptInto that also returns the peer's address, which RemoteAddr does not return if
// the peer has reset the connection meanwhile.
func (l *TCPListener) AcceptFrom(s *Stream) (netip.AddrPort, error) {
	from, err := acceptInto(&l.Descriptor, s, handle.TCPStream, &l.accepting)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return from.AddrPort(), nil
}

// StopListening makes the system refuse further connections, for all duplicates of the socket
// (shutdown(2)). The descriptor stays open and must still be closed. On systems other than Linux
// only Close of all duplicates ends listening, and StopListening does nothing. The error is a
// *net.OpError with ErrClosed.
func (l *TCPListener) StopListening() error { return stream.StopListening(l.h()) }

// Addr returns the address of the listener, or the zero AddrPort if it is closed.
func (l *TCPListener) Addr() netip.AddrPort { return ipAddr(localAddr(&l.Descriptor)) }
