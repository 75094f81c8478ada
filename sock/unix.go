package sock

import (
	"net"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// A UnixStream is one end of a connection between Unix sockets.
type UnixStream struct{ Stream }

// ConnectUnix connects to the listener with the name. Connecting has ended on return. The error is a
// *net.OpError with ErrBadArgument, for an invalid name too, or with the system's error (ENOENT,
// ECONNREFUSED, EMFILE). EAGAIN means that the listener's queue is full; no event reports when to
// try again.
func ConnectUnix(name string, options ...Option) (*UnixStream, error) {
	s := &UnixStream{}
	if err := ConnectUnixInto(&s.Stream, name, options...); err != nil {
		return nil, err
	}
	return s, nil
}

// ConnectUnixInto is ConnectUnix for a Stream that the caller allocates. s must be a zero value;
// otherwise the error is ErrBadArgument.
func ConnectUnixInto(s *Stream, name string, options ...Option) error {
	m := streamMaker(handle.UnixStream, s, options)
	a, err := m.prepareUnix(name)
	if err != nil {
		return err
	}
	return m.connectStream(s, a)
}

// prepareUnix creates a socket that will be connected to the listener with the name.
func (m *maker) prepareUnix(name string) (*sys.Sockaddr, error) {
	a, err := m.openUnix(sys.SOCK_STREAM, name)
	if err != nil {
		return nil, err
	}
	return &a, m.bindLocal(sys.AF_UNIX)
}

// UnixPair returns two streams that are connected to each other (socketpair(2)). The error is a
// *net.OpError, with EMFILE if the process is out of file descriptors, or errors.ErrUnsupported
// on Windows.
func UnixPair() (*UnixStream, *UnixStream, error) {
	fds, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		return nil, nil, &net.OpError{Op: "pair", Net: "unix", Err: sys.CallError("socketpair", e)}
	}
	return newUnixStream(fds[0]), newUnixStream(fds[1]), nil
}

func newUnixStream(fd sys.FD) *UnixStream {
	s := &UnixStream{}
	s.h().Init(fd, handle.UnixStream)
	return s
}

// LocalAddr returns the local name, or the empty name if the stream has no name or is closed.
func (s *UnixStream) LocalAddr() string { return unixName(localAddr(&s.Descriptor)) }

// RemoteAddr returns the peer's name, or the empty name if the peer has no name or the stream is
// closed.
func (s *UnixStream) RemoteAddr() string { return unixName(peerAddr(&s.Descriptor)) }

func unixName(a sys.Sockaddr, err error) string {
	if err != nil {
		return ""
	}
	return a.Unix()
}

// A UnixListener accepts connections to a Unix socket.
type UnixListener struct {
	Descriptor
	accepting
	path     *boundPath  // removed by Close
	released atomic.Bool // set by Close or Detach
}

// ListenUnix listens on name. Close removes the path that ListenUnix creates. The error is a
// *net.OpError with ErrBadArgument, for an invalid name too, or with the system's error (EACCES,
// ENOENT, EMFILE). If the path exists already, it is EADDRINUSE, even if no socket listens on it:
// remove it first.
func ListenUnix(name string, options ...Option) (*UnixListener, error) {
	l := &UnixListener{}
	m := maker{op: "listen", kind: handle.UnixListener, options: applyOptions(options), accepting: &l.accepting}
	a, err := m.openUnix(sys.SOCK_STREAM, name)
	if err != nil {
		return nil, err
	}
	if err := m.listen(&a); err != nil {
		return nil, err
	}
	l.path = m.path
	m.initListener(&l.Descriptor)
	return l, nil
}

// Accept takes the next connection off the queue, or returns ErrWouldBlock. With an Edge
// registration, accept until it does. The errors are those of TCPListener.Accept.
func (l *UnixListener) Accept() (*UnixStream, error) {
	s := &UnixStream{}
	if err := l.AcceptInto(&s.Stream); err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptInto is Accept for a Stream that the caller allocates. s must be a zero value; otherwise the
// error is ErrBadArgument.
func (l *UnixListener) AcceptInto(s *Stream) error {
	_, err := acceptInto(&l.Descriptor, s, handle.UnixStream, &l.accepting)
	return err
}

// StopListening does what TCPListener.StopListening does.
func (l *UnixListener) StopListening() error { return stream.StopListening(l.h()) }

// Addr returns the name of the listener, or the empty name if it is closed.
func (l *UnixListener) Addr() string { return unixName(localAddr(&l.Descriptor)) }

// Close stops listening and removes the path that ListenUnix has created, even if the
// working directory has changed. It does not remove the path if another socket has been
// bound to it since, or if the listener was not created by ListenUnix.
func (l *UnixListener) Close() error {
	if !l.released.Swap(true) {
		l.path.remove()
	}
	return l.Descriptor.Close()
}

// Detach does what Descriptor.Detach does. The caller then owns the path, too.
func (l *UnixListener) Detach() (uintptr, error) {
	if l.released.Swap(true) {
		return ^uintptr(0), l.opError("detach", net.ErrClosed)
	}
	return l.Descriptor.Detach()
}

// A UnixDatagram sends and receives datagrams between Unix sockets.
//
// Sending would block (ErrWouldBlock) if the receiver's queue is full. Linux reports
// Writable correctly only for the peer of a connected socket: on an unconnected socket
// Writable is reported again after each WriteTo that would have blocked. Waiting for it
// there would spin: connect the socket, or retry after a time.
type UnixDatagram struct{ Descriptor }

// ListenUnixDatagram binds a socket to name. Closing the socket does not remove the path; the
// caller must. The errors are those of ListenUnix.
func ListenUnixDatagram(name string, options ...Option) (*UnixDatagram, error) {
	m := maker{op: "bind", kind: handle.UnixDatagram, options: applyOptions(options)}
	a, err := m.openUnix(sys.SOCK_DGRAM, name)
	if err != nil {
		return nil, err
	}
	if err := m.bind(&a); err != nil {
		return nil, err
	}
	return newUnixDatagram(m.fd), nil
}

// ConnectUnixDatagram returns a socket whose peer is name. To receive answers it needs a name of its
// own: see the option LocalUnixAddr. The error is a *net.OpError with ErrBadArgument, for an invalid
// name too, or with the system's error: ECONNREFUSED or ENOENT if no socket has the name,
// EPROTOTYPE if a stream socket has it, EMFILE.
func ConnectUnixDatagram(name string, options ...Option) (*UnixDatagram, error) {
	m := connectMaker(handle.UnixDatagram, options)
	a, err := m.openUnix(sys.SOCK_DGRAM, name)
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

// UnixDatagramPair returns two sockets that are connected to each other (socketpair(2)).
// The errors are those of UnixPair.
func UnixDatagramPair() (*UnixDatagram, *UnixDatagram, error) {
	fds, e := sys.Socketpair(sys.SOCK_DGRAM)
	if e != 0 {
		return nil, nil, &net.OpError{Op: "pair", Net: "unixgram", Err: sys.CallError("socketpair", e)}
	}
	return newUnixDatagram(fds[0]), newUnixDatagram(fds[1]), nil
}

func newUnixDatagram(fd sys.FD) *UnixDatagram {
	u := &UnixDatagram{}
	u.h().Init(fd, handle.UnixDatagram)
	return u
}

// LocalAddr returns the local name, or the empty name if the socket has no name or is closed.
func (u *UnixDatagram) LocalAddr() string { return unixName(localAddr(&u.Descriptor)) }

// RemoteAddr returns the peer's name, or the empty name if there is no peer or it has no name.
func (u *UnixDatagram) RemoteAddr() string { return unixName(peerAddr(&u.Descriptor)) }

// ReadFrom receives one datagram into b and returns its length and the sender's name. An
// empty datagram is 0 bytes and no error. If a datagram is longer than b, ReadFrom fills b
// and returns ErrTruncated.
func (u *UnixDatagram) ReadFrom(b []byte) (int, string, error) {
	var from sys.Sockaddr
	n, err := readFrom(&u.Descriptor, b, &from)
	if err != nil && err != ErrTruncated {
		return 0, "", err
	}
	return n, from.Unix(), err
}

// Read is ReadFrom without the sender.
func (u *UnixDatagram) Read(b []byte) (int, error) {
	var from sys.Sockaddr
	return readFrom(&u.Descriptor, b, &from)
}

// WriteTo sends b to the socket with the name as one datagram: all of b or nothing. An invalid name
// is ErrBadArgument; ECONNREFUSED or ENOENT means that no socket has the name, EMSGSIZE that the
// datagram is longer than the send buffer allows.
func (u *UnixDatagram) WriteTo(b []byte, name string) (int, error) {
	var a sys.Sockaddr
	if name == "" || !a.SetUnix(name) {
		return 0, &net.OpError{Op: "write", Net: "unixgram", Addr: &net.UnixAddr{Name: name, Net: "unixgram"}, Err: badName(name)}
	}
	return writeTo(&u.Descriptor, b, &a)
}

// Write sends b to the peer as one datagram: all of b or nothing. The errors are those of WriteTo, or
// the system's if there is no peer, such as ENOTCONN.
func (u *UnixDatagram) Write(b []byte) (int, error) { return writeTo(&u.Descriptor, b, nil) }
