package sock

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// FromFile returns a duplicate of f's descriptor. The open file becomes non-blocking, for f too: see
// FromFD. On Windows only sockets can be polled, so Poll.Register returns pollux.ErrNotPollable for
// the result. The error is a *net.OpError with ErrBadArgument if f is nil, or with the system's error
// (EMFILE).
func FromFile(f *os.File) (*FD, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, err
	}
	return FromFD(uintptr(fd))
}

// FromTCPConn returns a duplicate of the TCP connection in c: a *net.TCPConn, or any other type
// with SyscallConn and such a socket. Bytes that c, or a reader over c, has buffered are not
// included. The error is a *net.OpError with ErrBadArgument if c is nil or another kind of socket, or
// with the system's error (EMFILE).
func FromTCPConn(c syscall.Conn) (*TCPStream, error) {
	s := &TCPStream{}
	if _, err := adopt(&s.Descriptor, c, handle.TCPStream); err != nil {
		return nil, err
	}
	return s, nil
}

// FromConn returns a duplicate of the TCP or Unix stream in c: it does what FromTCPConn or
// FromUnixConn does, depending on the socket.
func FromConn(c syscall.Conn) (*Stream, error) {
	s := &Stream{}
	fd, err := duplicate(c)
	if err != nil {
		return nil, err
	}
	kind := handle.TCPStream
	if a, e := sys.LocalAddr(fd); e == 0 && a.Family() == sys.AF_UNIX {
		kind = handle.UnixStream
	}
	if _, err := adoptFD(&s.Descriptor, fd, kind); err != nil {
		return nil, err
	}
	return s, nil
}

// FromTCPListener returns a duplicate of the listening socket in l, a
// *net.TCPListener. The errors are those of FromTCPConn.
func FromTCPListener(l syscall.Conn) (*TCPListener, error) {
	t := &TCPListener{}
	stream.UpdateOptions(&t.accepting, func(o *stream.AcceptOptions) { o.NoDelay = stream.NoDelayOn })
	if _, err := adopt(&t.Descriptor, l, handle.TCPListener); err != nil {
		return nil, err
	}
	return t, nil
}

// FromUDPConn returns a duplicate of the socket in c, a *net.UDPConn. The errors are those of
// FromTCPConn.
func FromUDPConn(c syscall.Conn) (*UDPSocket, error) {
	u := &UDPSocket{}
	family, err := adopt(&u.Descriptor, c, handle.UDPSocket)
	if err != nil {
		return nil, err
	}
	u.family = family
	return u, nil
}

// FromUnixConn returns a duplicate of the stream in c, a *net.UnixConn of network
// "unix". The errors are those of FromTCPConn.
func FromUnixConn(c syscall.Conn) (*UnixStream, error) {
	s := &UnixStream{}
	if _, err := adopt(&s.Descriptor, c, handle.UnixStream); err != nil {
		return nil, err
	}
	return s, nil
}

// FromUnixListener returns a duplicate of the listening socket in l, a
// *net.UnixListener. Closing the duplicate does not remove the path. The errors are those of
// FromTCPConn.
func FromUnixListener(l syscall.Conn) (*UnixListener, error) {
	u := &UnixListener{}
	if _, err := adopt(&u.Descriptor, l, handle.UnixListener); err != nil {
		return nil, err
	}
	return u, nil
}

// FromUnixDatagram returns a duplicate of the socket in c, a *net.UnixConn of
// network "unixgram". The errors are those of FromTCPConn.
func FromUnixDatagram(c syscall.Conn) (*UnixDatagram, error) {
	u := &UnixDatagram{}
	if _, err := adopt(&u.Descriptor, c, handle.UnixDatagram); err != nil {
		return nil, err
	}
	return u, nil
}

// NetConn returns a duplicate as a net.Conn: a *net.TCPConn or a *net.UnixConn. The duplicates share
// the blocking mode: see File. On Windows the error is errors.ErrUnsupported, because package net
// cannot use an existing socket there.
func (s *Stream) NetConn() (net.Conn, error) { return s.duplicateConn() }

// NetConn does what Stream.NetConn does. The result is a *net.UDPConn.
func (u *UDPSocket) NetConn() (net.Conn, error) { return u.duplicateConn() }

// NetConn does what Stream.NetConn does. The result is a *net.UnixConn.
func (u *UnixDatagram) NetConn() (net.Conn, error) { return u.duplicateConn() }

func (d *Descriptor) duplicateConn() (c net.Conn, err error) {
	err = d.withFD("duplicate", func(fd sys.FD) error {
		s := sys.Virtual(fd)
		if s == nil {
			c, err = d.netConn()
			return err
		}
		var e syscall.Errno
		if c, e = s.NetConn(); e != 0 {
			return d.callError("duplicate", "dup", e)
		}
		return nil
	})
	return c, err
}

// adopt makes d a duplicate of c's socket, which must be of the kind, and returns its
// address family.
func adopt(d *Descriptor, c syscall.Conn, kind handle.Kind) (family int, err error) {
	fd, err := duplicate(c)
	if err != nil {
		return 0, err
	}
	return adoptFD(d, fd, kind)
}

// adoptFD makes d own fd, a duplicate. If it fails, fd is closed.
func adoptFD(d *Descriptor, fd sys.FD, kind handle.Kind) (family int, err error) {
	if family, err = checkKind(fd, kind); err != nil {
		sys.Close(fd)
		return 0, &net.OpError{Op: "adopt", Net: kind.Network(), Err: err}
	}
	d.h().Init(fd, kind)
	d.h().Adopt()
	return family, nil
}

// checkKind returns the address family of fd, or an error if fd is not a socket of the kind.
func checkKind(fd sys.FD, kind handle.Kind) (family int, err error) {
	a, e := sys.LocalAddr(fd)
	if e != 0 {
		return 0, fmt.Errorf("%w: not a %s: %w; FromFD accepts any descriptor", ErrBadArgument, kind, sys.CallError("getsockname", e))
	}
	typ, _ := sys.GetInt(fd, sys.SOL_SOCKET, sys.SO_TYPE) // every socket has it
	family = a.Family()
	suits := family == sys.AF_INET || family == sys.AF_INET6
	if kind == handle.UnixStream || kind == handle.UnixListener || kind == handle.UnixDatagram {
		suits = family == sys.AF_UNIX
	}
	want := sys.SOCK_STREAM
	if kind == handle.UDPSocket || kind == handle.UnixDatagram {
		want = sys.SOCK_DGRAM
	}
	if !suits || typ != want {
		return 0, bad("not a %s: the socket has %s and %s; FromFD accepts any descriptor", kind, familyName(family), typeName(typ))
	}
	listens, e := sys.GetInt(fd, sys.SOL_SOCKET, sys.SO_ACCEPTCONN)
	isListener := kind == handle.TCPListener || kind == handle.UnixListener
	switch {
	case e != 0: // not all systems have SO_ACCEPTCONN
	case listens != 0 && !isListener:
		return 0, bad("not a %s: the socket is listening", kind)
	case listens == 0 && isListener:
		return 0, bad("not a %s: the socket is not listening", kind)
	}
	return family, nil
}

func familyName(family int) string {
	switch family {
	case sys.AF_INET:
		return "AF_INET"
	case sys.AF_INET6:
		return "AF_INET6"
	case sys.AF_UNIX:
		return "AF_UNIX"
	}
	return fmt.Sprintf("address family %d", family)
}

func typeName(typ int) string {
	switch typ {
	case sys.SOCK_STREAM:
		return "SOCK_STREAM"
	case sys.SOCK_DGRAM:
		return "SOCK_DGRAM"
	case sys.SOCK_SEQPACKET:
		return "SOCK_SEQPACKET"
	}
	return fmt.Sprintf("type %d", typ)
}

// duplicate returns a non-blocking duplicate of c's descriptor.
func duplicate(c syscall.Conn) (sys.FD, error) {
	if handle.IsNil(c) {
		return sys.InvalidFD, &net.OpError{Op: "adopt", Net: "descriptor", Err: bad("the value to duplicate is nil")}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return sys.InvalidFD, &net.OpError{Op: "adopt", Net: "descriptor", Err: err}
	}
	dup := sys.InvalidFD
	var e syscall.Errno
	err = raw.Control(func(fd uintptr) {
		if dup, e = sys.Dup(sys.FD(fd)); e == 0 {
			e = sys.SetNonblock(dup)
		}
	})
	if err == nil && e != 0 {
		err = sys.CallError("fcntl", e)
	}
	if err != nil {
		if dup != sys.InvalidFD {
			sys.Close(dup)
		}
		return sys.InvalidFD, &net.OpError{Op: "adopt", Net: "descriptor", Err: err}
	}
	return dup, nil
}
