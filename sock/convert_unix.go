//go:build unix

package sock

import (
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// Conversions duplicate the descriptor: two descriptors of one open file or
// socket exist afterwards, each to be closed by its owner. The connection ends
// when both are closed. To read from both mixes up the stream.

// File returns a duplicate as an *os.File, which Go's own poller watches.
func (d *Descriptor) File() (*os.File, error) {
	var f *os.File
	err := d.use("duplicate", func(fd sys.FD) error {
		dup, e := sys.Dup(fd)
		if e != 0 {
			return d.failed("duplicate", "fcntl", e)
		}
		f = os.NewFile(uintptr(dup), network(d.h.Kind()))
		return nil
	})
	return f, err
}

// NetConn returns a duplicate as a net.Conn: TCP, connected UDP and Unix sockets.
func (d *Descriptor) NetConn() (net.Conn, error) {
	f, err := d.File()
	if err != nil {
		return nil, err
	}
	defer f.Close() // net.FileConn duplicates once more
	return net.FileConn(f)
}

// FromFile returns a duplicate of what f has open. f stays as it is, but becomes
// non-blocking: see FromFD.
func FromFile(f *os.File) (*FD, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, err
	}
	return FromFD(uintptr(fd))
}

// FromConn returns a duplicate of the socket in c: a *net.TCPConn, *net.UDPConn,
// *net.UnixConn, or whatever else has SyscallConn and a socket of these kinds
// behind it. Bytes that c, or a reader over it, has buffered are not in it.
//
// The result is a *TCPStream, *UDPSocket, *UnixStream or *UnixDatagram.
func FromConn(c syscall.Conn) (any, error) {
	fd, err := duplicate(c)
	if err != nil {
		return nil, err
	}
	return fromSocket(fd)
}

// FromListener returns a duplicate of the socket in l: a *TCPListener or a
// *UnixListener. l is a *net.TCPListener or *net.UnixListener.
func FromListener(l syscall.Conn) (any, error) {
	fd, err := duplicate(l)
	if err != nil {
		return nil, err
	}
	a, e := sys.LocalAddr(fd)
	switch {
	case e == 0 && a.Family() == sys.AF_UNIX:
		u := &UnixListener{}
		u.h.Init(fd, handle.UnixListener)
		return u, nil
	case e == 0 && (a.Family() == sys.AF_INET || a.Family() == sys.AF_INET6):
		t := &TCPListener{}
		t.h.Init(fd, handle.TCPListener)
		return t, nil
	}
	sys.Close(fd)
	return nil, notASocket("listener", e)
}

func fromSocket(fd sys.FD) (any, error) {
	a, e := sys.LocalAddr(fd)
	typ, e2 := sys.GetInt(fd, sys.SOL_SOCKET, sys.SO_TYPE)
	if e == 0 {
		e = e2
	}
	ip := a.Family() == sys.AF_INET || a.Family() == sys.AF_INET6
	switch {
	case e != 0:
	case ip && typ == sys.SOCK_STREAM:
		s := &TCPStream{}
		s.h.Init(fd, handle.TCPStream)
		return s, nil
	case ip && typ == sys.SOCK_DGRAM:
		return newUDP(fd, a.Family()), nil
	case a.Family() == sys.AF_UNIX && typ == sys.SOCK_STREAM:
		return newUnixStream(fd), nil
	case a.Family() == sys.AF_UNIX && typ == sys.SOCK_DGRAM:
		return newUnixDatagram(fd), nil
	}
	sys.Close(fd)
	return nil, notASocket("connection", e)
}

func notASocket(what string, e syscall.Errno) error {
	err := errors.New("not a TCP, UDP or Unix socket; use FromFD")
	if e != 0 {
		err = os.NewSyscallError("getsockname", e)
	}
	return &net.OpError{Op: "adopt", Net: what, Err: err}
}

// duplicate returns a non-blocking duplicate of c's descriptor.
func duplicate(c syscall.Conn) (sys.FD, error) {
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
		err = os.NewSyscallError("fcntl", e)
	}
	if err != nil {
		if dup != sys.InvalidFD {
			sys.Close(dup)
		}
		return sys.InvalidFD, &net.OpError{Op: "adopt", Net: "descriptor", Err: err}
	}
	return dup, nil
}
