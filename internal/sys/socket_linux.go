package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not wait, on a non-blocking descriptor: they are
// raw. See the package comment.

// maxRawBytes is how much a raw call moves at the most: copying takes about
// 0.1 ms then, for which the scheduler may wait.
const maxRawBytes = 256 << 10

// call makes a call of the shape (fd, pointer, word, word, pointer, word), raw
// unless it moves so many bytes that it would take long. The pointers become
// numbers in the call expression itself: before that the stack that they may
// point into can still move.
func call(trap uintptr, bytes int, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (int, syscall.Errno) {
	for {
		var n uintptr
		var e syscall.Errno
		if bytes <= maxRawBytes {
			n, _, e = unix.RawSyscall6(trap, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
		} else {
			n, _, e = unix.Syscall6(trap, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
		}
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

func dataOf(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// Socket returns a non-blocking, close-on-exec socket.
func Socket(family, typ, proto int) (FD, syscall.Errno) {
	fd, err := unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return fd, 0
}

// Socketpair returns two connected non-blocking, close-on-exec Unix sockets.
func Socketpair(typ int) ([2]FD, syscall.Errno) {
	p, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return p, errno(err)
}

// Pipe returns the two ends of a non-blocking, close-on-exec pipe.
func Pipe() (r, w FD, e syscall.Errno) {
	var p [2]int
	err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return p[0], p[1], errno(err)
}

// Accept takes a connection off the listener's queue, non-blocking and
// close-on-exec.
func Accept(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	for {
		from.Len = SockaddrSize
		n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&from.Len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return InvalidFD, e
		}
	}
}

// Connect begins to connect. EINPROGRESS is the ordinary answer. EINTR is not
// retried, for the attempt goes on: it is reported as EINPROGRESS (connect(2)).
func Connect(fd FD, to *Sockaddr) syscall.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), uintptr(to.Len))
	if e == unix.EINTR {
		return unix.EINPROGRESS
	}
	return e
}

// Bind gives the socket its local address.
func Bind(fd FD, a *Sockaddr) syscall.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.Len))
	return e
}

// LocalAddr returns the socket's own address.
func LocalAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(unix.SYS_GETSOCKNAME, fd) }

// PeerAddr returns the address of the socket's peer: ENOTCONN if it has none.
func PeerAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(unix.SYS_GETPEERNAME, fd) }

func nameCall(trap uintptr, fd FD) (Sockaddr, syscall.Errno) {
	a := Sockaddr{Len: SockaddrSize}
	_, _, e := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.Len)))
	return a, e
}

// Recv is recv(2).
func Recv(fd FD, b []byte, flags int) (int, syscall.Errno) {
	return call(unix.SYS_RECVFROM, len(b), fd, dataOf(b), uintptr(len(b)), uintptr(flags), nil, 0)
}

// Send is send(2) without SIGPIPE.
func Send(fd FD, b []byte, flags int) (int, syscall.Errno) {
	return call(unix.SYS_SENDTO, len(b), fd, dataOf(b), uintptr(len(b)), uintptr(flags|unix.MSG_NOSIGNAL), nil, 0)
}

// SendTo sends one datagram.
func SendTo(fd FD, b []byte, to *Sockaddr) (int, syscall.Errno) {
	return call(unix.SYS_SENDTO, len(b), fd, dataOf(b), uintptr(len(b)), unix.MSG_NOSIGNAL, unsafe.Pointer(&to.raw), uintptr(to.Len))
}

// RecvFrom receives one datagram and says whether it was longer than b.
func RecvFrom(fd FD, b []byte, from *Sockaddr) (n int, truncated bool, e syscall.Errno) {
	var iov unix.Iovec
	iov.Base = unsafe.SliceData(b)
	iov.SetLen(len(b))
	var h unix.Msghdr
	h.Name = (*byte)(unsafe.Pointer(&from.raw))
	h.Namelen = SockaddrSize
	h.Iov = &iov
	h.SetIovlen(1)
	n, e = call(unix.SYS_RECVMSG, len(b), fd, unsafe.Pointer(&h), 0, 0, nil, 0)
	from.Len = h.Namelen
	return n, h.Flags&unix.MSG_TRUNC != 0, e
}

// Read is read(2), for descriptors of our own making that never wait.
func Read(fd FD, b []byte) (int, syscall.Errno) {
	return call(unix.SYS_READ, len(b), fd, dataOf(b), uintptr(len(b)), 0, nil, 0)
}

// Write is write(2), for descriptors of our own making that never wait.
func Write(fd FD, b []byte) (int, syscall.Errno) {
	return call(unix.SYS_WRITE, len(b), fd, dataOf(b), uintptr(len(b)), 0, nil, 0)
}

// MaxIovecs is how many buffers one vectored call takes: enough for what a
// connection queues, few enough to lie on the stack. IOV_MAX is 1024.
const MaxIovecs = 64

// Iovecs is the argument of a vectored call.
type Iovecs struct {
	v     [MaxIovecs]unix.Iovec
	n     int
	Bytes int
}

// Add appends b, unless there is no room for it. Empty slices take none.
func (v *Iovecs) Add(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if v.n == MaxIovecs {
		return false
	}
	v.v[v.n].Base = unsafe.SliceData(b)
	v.v[v.n].SetLen(len(b))
	v.n++
	v.Bytes += len(b)
	return true
}

// Readv is readv(2).
func Readv(fd FD, v *Iovecs) (int, syscall.Errno) {
	return call(unix.SYS_READV, v.Bytes, fd, unsafe.Pointer(&v.v), uintptr(v.n), 0, nil, 0)
}

// Writev is writev(2).
func Writev(fd FD, v *Iovecs) (int, syscall.Errno) {
	return call(unix.SYS_WRITEV, v.Bytes, fd, unsafe.Pointer(&v.v), uintptr(v.n), 0, nil, 0)
}

// Sendv is writev(2) on a socket, without SIGPIPE.
func Sendv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var h unix.Msghdr
	h.Iov = &v.v[0]
	h.SetIovlen(v.n)
	return call(unix.SYS_SENDMSG, v.Bytes, fd, unsafe.Pointer(&h), unix.MSG_NOSIGNAL, 0, nil, 0)
}

// ReadForeign is read(2) on a descriptor that somebody else may switch to
// blocking: Go's scheduler is told of the call.
func ReadForeign(fd FD, b []byte) (int, syscall.Errno) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return max(n, 0), errno(err)
		}
	}
}

// WriteForeign is write(2) on a descriptor that somebody else may switch to
// blocking.
func WriteForeign(fd FD, b []byte) (int, syscall.Errno) {
	for {
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return max(n, 0), errno(err)
		}
	}
}
