//go:build unix

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not wait, so they are raw: see the package comment. Those on
// data pass MSG_DONTWAIT, for a socket's mode is not ours alone (shared_unix.go); the
// others are for descriptors that are non-blocking and have no duplicates.

func dataOf(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// maxRawBytes is how much a raw call moves at the most: copying takes about
// 0.1 ms then, for which the scheduler may wait.
const maxRawBytes = 256 << 10

// call makes a call of the shape (fd, pointer, word, word, pointer, word), raw
// unless it moves so many bytes that it would take long.
func call(trap uintptr, bytes int, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (int, syscall.Errno) {
	if bytes > maxRawBytes {
		return bigCall(trap, fd, p, c, d, q, f)
	}
	for {
		n, e := rawCall(trap, fd, p, c, d, q, f)
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

func bigCall(trap uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (int, syscall.Errno) {
	for {
		n, e := longCall(trap, fd, p, c, d, q, f)
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

// count is what a call has returned, if it is a count: -1 comes with an error.
func count(n uintptr, e syscall.Errno) int {
	if e != 0 {
		return 0
	}
	return int(n)
}

// Connect begins to connect. EINPROGRESS is the ordinary answer. EINTR is not
// retried, for the attempt goes on: it is reported as EINPROGRESS (connect(2)).
func Connect(fd FD, to *Sockaddr) syscall.Errno {
	_, e := rawCall(sysConnect, fd, unsafe.Pointer(&to.raw), uintptr(to.Len), 0, nil, 0)
	if e == unix.EINTR {
		return unix.EINPROGRESS
	}
	return e
}

// Bind gives the socket its local address.
func Bind(fd FD, a *Sockaddr) syscall.Errno {
	_, e := rawCall(sysBind, fd, unsafe.Pointer(&a.raw), uintptr(a.Len), 0, nil, 0)
	return e
}

// LocalAddr returns the socket's own address.
func LocalAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(sysGetsockname, fd) }

// PeerAddr returns the address of the socket's peer: ENOTCONN if it has none.
func PeerAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(sysGetpeername, fd) }

func nameCall(trap uintptr, fd FD) (Sockaddr, syscall.Errno) {
	a := Sockaddr{Len: SockaddrSize}
	_, e := rawNameCall(trap, fd, unsafe.Pointer(&a.raw), unsafe.Pointer(&a.Len), 0, 0)
	return a, e
}

// Recv is recv(2). Recv and Send are what a busy program calls most, and right after
// the kernel has filled the processor's caches with its own code: so the ordinary case
// is short.
func Recv(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if len(b) <= maxRawBytes {
		n, e := rawCall(sysRecvfrom, fd, dataOf(b), uintptr(len(b)), uintptr(flags|recvFlags), nil, 0)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
	return call(sysRecvfrom, len(b), fd, dataOf(b), uintptr(len(b)), uintptr(flags|recvFlags), nil, 0)
}

// Send is send(2) without SIGPIPE.
func Send(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if len(b) <= maxRawBytes {
		n, e := rawCall(sysSendto, fd, dataOf(b), uintptr(len(b)), uintptr(flags|sendFlags), nil, 0)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
	return call(sysSendto, len(b), fd, dataOf(b), uintptr(len(b)), uintptr(flags|sendFlags), nil, 0)
}

// SendTo sends one datagram.
func SendTo(fd FD, b []byte, to *Sockaddr) (int, syscall.Errno) {
	return call(sysSendto, len(b), fd, dataOf(b), uintptr(len(b)), sendFlags, unsafe.Pointer(&to.raw), uintptr(to.Len))
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
	n, e = call(sysRecvmsg, len(b), fd, unsafe.Pointer(&h), recvFlags, 0, nil, 0)
	from.Len = h.Namelen
	return n, messageFlags(&h)&unix.MSG_TRUNC != 0, e
}

// Read is read(2), for descriptors of our own making without duplicates, which never wait.
func Read(fd FD, b []byte) (int, syscall.Errno) {
	return call(sysRead, len(b), fd, dataOf(b), uintptr(len(b)), 0, nil, 0)
}

// Write is write(2), for descriptors of our own making without duplicates, which never
// wait.
func Write(fd FD, b []byte) (int, syscall.Errno) {
	return call(sysWrite, len(b), fd, dataOf(b), uintptr(len(b)), 0, nil, 0)
}

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

// Recvv is readv(2) on a socket, which it does not wait for.
func Recvv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var h unix.Msghdr
	h.Iov = &v.v[0]
	h.SetIovlen(v.n)
	return call(sysRecvmsg, v.Bytes, fd, unsafe.Pointer(&h), recvFlags, 0, nil, 0)
}

// Sendv is writev(2) on a socket, without SIGPIPE.
func Sendv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var h unix.Msghdr
	h.Iov = &v.v[0]
	h.SetIovlen(v.n)
	return call(sysSendmsg, v.Bytes, fd, unsafe.Pointer(&h), sendFlags, 0, nil, 0)
}
