package sock

import (
	"net"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// Names of Unix sockets are paths, of 108 bytes at most on Linux and 103 to 107 elsewhere.
// On Linux, a leading @ stands for the zero byte of an abstract name (unix(7)): up to 107
// bytes follow, any of them, zero bytes too. A path that begins with @ is written ./@.
// Empty is the name of a socket that has none.

// UnixStream is one end of a connection between Unix sockets.
type UnixStream struct{ Stream }

// ConnectUnix connects to the listener called name. That never takes time: if the
// listener's queue is full, the error is a *net.OpError with syscall.EAGAIN, and no
// event tells when to try again.
func ConnectUnix(name string, options ...Option) (*UnixStream, error) {
	s := &UnixStream{}
	if err := ConnectUnixInto(&s.Stream, name, options...); err != nil {
		return nil, err
	}
	return s, nil
}

// ConnectUnixInto is ConnectUnix into a Stream of the caller's, which must be new.
func ConnectUnixInto(s *Stream, name string, options ...Option) error {
	m := connecting(handle.UnixStream, options)
	a, err := m.prepareUnix(name)
	if err == nil {
		err = m.connect(a)
	}
	if err != nil {
		return err
	}
	return m.into(s, nil) // it is connected
}

// prepareUnix makes a socket to be connected to the listener called name.
func (m *maker) prepareUnix(name string) (*sys.Sockaddr, error) {
	a, err := m.unix(sys.SOCK_STREAM, name)
	if err != nil {
		return nil, err
	}
	return &a, m.bindLocal(sys.AF_UNIX)
}

// UnixPair returns two streams that are connected with each other (socketpair(2)). The
// error is a *net.OpError: for want of descriptors (EMFILE), or errors.ErrUnsupported on
// Windows.
func UnixPair() (*UnixStream, *UnixStream, error) {
	fds, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		return nil, nil, &net.OpError{Op: "pair", Net: "unix", Err: sys.CallError("socketpair", e)}
	}
	return newUnixStream(fds[0]), newUnixStream(fds[1]), nil
}

func newUnixStream(fd sys.FD) *UnixStream {
	s := &UnixStream{}
	s.h.Init(fd, handle.UnixStream)
	return s
}

// LocalName returns the stream's own name.
func (s *UnixStream) LocalName() string { return unixName(localAddr(&s.Descriptor)) }

// RemoteName returns the peer's name.
func (s *UnixStream) RemoteName() string { return unixName(peerAddr(&s.Descriptor)) }

func unixName(a sys.Sockaddr, err error) string {
	if err != nil {
		return ""
	}
	return a.Unix()
}

// UnixListener accepts connections to a Unix socket.
type UnixListener struct {
	Descriptor
	path *boundPath  // what Close removes
	left atomic.Bool // by Close or Detach
}

// ListenUnix listens under name. The path that it makes is removed by Close. One that exists is an
// error, EADDRINUSE, even if nobody listens there any more: remove it first.
func ListenUnix(name string, options ...Option) (*UnixListener, error) {
	m := maker{op: "listen", kind: handle.UnixListener, options: settle(options)}
	a, err := m.unix(sys.SOCK_STREAM, name)
	if err != nil {
		return nil, err
	}
	if err := m.listen(&a); err != nil {
		return nil, err
	}
	l := &UnixListener{path: m.path}
	m.initListener(&l.Descriptor)
	return l, nil
}

// Accept takes the next connection off the queue, or returns ErrWouldBlock. With
// an Edge registration go on until it does.
func (l *UnixListener) Accept() (*UnixStream, error) {
	s := &UnixStream{}
	if err := l.AcceptInto(&s.Stream); err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptInto is Accept into a Stream of the caller's, which must be new.
func (l *UnixListener) AcceptInto(s *Stream) error {
	_, err := acceptInto(&l.Descriptor, s, handle.UnixStream)
	return err
}

// StopListening is that of TCPListener.
func (l *UnixListener) StopListening() error { return stopListening(&l.Descriptor) }

// Name returns the name listened under.
func (l *UnixListener) Name() string { return unixName(localAddr(&l.Descriptor)) }

// Close stops listening, and removes the path that ListenUnix has bound, wherever the
// working directory is now: not one that another socket has been bound to since, nor one
// that was inherited.
func (l *UnixListener) Close() error {
	if !l.left.Swap(true) {
		l.path.remove()
	}
	return l.Descriptor.Close()
}

// Detach is that of Descriptor. Whoever has the descriptor owns the path too, and Close
// leaves it alone.
func (l *UnixListener) Detach() (uintptr, error) {
	if l.left.Swap(true) {
		return ^uintptr(0), l.failure("detach", net.ErrClosed)
	}
	return l.Descriptor.Detach()
}

// UnixDatagram sends and receives datagrams between Unix sockets.
//
// Whether there is room depends on the receiver, whose queue may be full (ErrWouldBlock).
// Linux knows that of a connected socket's peer alone: one without a peer is told Writable
// again after each WriteTo that was refused. Do not wait for that, which would be to spin:
// connect the socket, or try again by a timer.
type UnixDatagram struct{ Descriptor }

// ListenUnixDatagram binds a socket to name, a path or @ and an abstract name (Linux). The
// path stays when the socket is closed: remove it. The error is a *net.OpError: for a name
// that is none, ErrBadOption, or the system's (EADDRINUSE, also if the path is left over;
// EACCES, ENOENT, EMFILE).
func ListenUnixDatagram(name string, options ...Option) (*UnixDatagram, error) {
	m := maker{op: "bind", kind: handle.UnixDatagram, options: settle(options)}
	a, err := m.unix(sys.SOCK_DGRAM, name)
	if err != nil {
		return nil, err
	}
	if err := m.bind(&a); err != nil {
		return nil, err
	}
	return newUnixDatagram(m.fd), nil
}

// ConnectUnixDatagram makes a socket whose peer is name. The option LocalName
// gives it a name to be answered at. The error is a *net.OpError: for a name that is none,
// ErrBadOption, or the system's (ECONNREFUSED and ENOENT: nobody has the name; EPROTOTYPE:
// a stream has it).
func ConnectUnixDatagram(name string, options ...Option) (*UnixDatagram, error) {
	m := connecting(handle.UnixDatagram, options)
	a, err := m.unix(sys.SOCK_DGRAM, name)
	if err != nil {
		return nil, err
	}
	if err := m.bindLocal(sys.AF_UNIX); err != nil {
		return nil, err
	}
	if err := m.connect(&a); err != nil {
		return nil, err
	}
	return newUnixDatagram(m.fd), nil
}

// UnixDatagramPair returns two sockets that are connected with each other (socketpair(2)).
// The error is as that of UnixPair.
func UnixDatagramPair() (*UnixDatagram, *UnixDatagram, error) {
	fds, e := sys.Socketpair(sys.SOCK_DGRAM)
	if e != 0 {
		return nil, nil, &net.OpError{Op: "pair", Net: "unixgram", Err: sys.CallError("socketpair", e)}
	}
	return newUnixDatagram(fds[0]), newUnixDatagram(fds[1]), nil
}

func newUnixDatagram(fd sys.FD) *UnixDatagram {
	u := &UnixDatagram{}
	u.h.Init(fd, handle.UnixDatagram)
	return u
}

// LocalName returns the socket's own name.
func (u *UnixDatagram) LocalName() string { return unixName(localAddr(&u.Descriptor)) }

// RemoteName returns the peer's name.
func (u *UnixDatagram) RemoteName() string { return unixName(peerAddr(&u.Descriptor)) }

// ReadFrom receives one datagram into b, and the sender's name. An empty datagram
// is 0 bytes and no error; one longer than b fills it and gives ErrTruncated.
func (u *UnixDatagram) ReadFrom(b []byte) (int, string, error) {
	var from sys.Sockaddr
	n, err := readFrom(&u.Descriptor, b, &from)
	if err != nil && err != ErrTruncated {
		return 0, "", err
	}
	return n, from.Unix(), err
}

// Read is ReadFrom where the sender is known.
func (u *UnixDatagram) Read(b []byte) (int, error) {
	var from sys.Sockaddr
	return readFrom(&u.Descriptor, b, &from)
}

// WriteTo sends b as one datagram to the socket called name: whole, or not at all.
func (u *UnixDatagram) WriteTo(b []byte, name string) (int, error) {
	var a sys.Sockaddr
	if name == "" || !a.SetUnix(name) {
		return 0, &net.OpError{Op: "write", Net: "unixgram", Addr: &net.UnixAddr{Name: name, Net: "unixgram"}, Err: badName(name)}
	}
	return writeTo(&u.Descriptor, b, &a)
}

// Write sends b as one datagram to the peer: whole, or not at all.
func (u *UnixDatagram) Write(b []byte) (int, error) { return writeTo(&u.Descriptor, b, nil) }
