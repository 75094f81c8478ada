//go:build unix

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not block, so they are raw: see the package comment. Those that
// transfer data pass MSG_DONTWAIT, because other processes may change a socket's mode
// (shared_unix.go); the others are for descriptors that are non-blocking and have no
// duplicates.

func dataOf(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// maxRawBytes is the maximum that a raw call transfers: copying it takes about 0.1 ms, for
// which the scheduler may wait.
const maxRawBytes = 256 << 10

// call makes a call with the arguments (fd, pointer, word, word, pointer, word). It is raw
// unless bytes exceeds maxRawBytes.
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

// count returns the count that a call has returned, or 0 after an error, when n is -1.
func count(n uintptr, e syscall.Errno) int {
	if e != 0 {
		return 0
	}
	return int(n)
}

// osConnect starts connecting. The usual result is EINPROGRESS. EINTR is not retried, because
// the kernel continues to connect: it is returned as EINPROGRESS (connect(2)).
func osConnect(fd FD, to *Sockaddr) syscall.Errno {
	_, e := rawCall(sysConnect, fd, unsafe.Pointer(&to.raw), uintptr(to.Len), 0, nil, 0)
	if e == unix.EINTR {
		return unix.EINPROGRESS
	}
	return e
}

// osBind sets the socket's local address.
func osBind(fd FD, a *Sockaddr) syscall.Errno {
	_, e := rawCall(sysBind, fd, unsafe.Pointer(&a.raw), uintptr(a.Len), 0, nil, 0)
	return e
}

// osLocalAddr returns the socket's own address.
func osLocalAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(sysGetsockname, fd) }

// osPeerAddr returns the address of the socket's peer, or ENOTCONN if it has none.
func osPeerAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(sysGetpeername, fd) }

func nameCall(trap uintptr, fd FD) (Sockaddr, syscall.Errno) {
	a := Sockaddr{Len: SockaddrSize}
	_, e := rawNameCall(trap, fd, unsafe.Pointer(&a.raw), unsafe.Pointer(&a.Len), 0, 0)
	return a, e
}

// osRecv is recv(2). A busy program calls Recv and Send most often, right after the kernel
// has filled the processor's caches with its own code: so the common case is short.
func osRecv(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if len(b) <= maxRawBytes {
		n, e := rawCall(sysRecvfrom, fd, dataOf(b), uintptr(len(b)), uintptr(flags|recvFlags), nil, 0)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
	return call(sysRecvfrom, len(b), fd, dataOf(b), uintptr(len(b)), uintptr(flags|recvFlags), nil, 0)
}

// osSend is send(2) without SIGPIPE.
func osSend(fd FD, b []byte, flags int) (int, syscall.Errno) {
	if len(b) <= maxRawBytes {
		n, e := rawCall(sysSendto, fd, dataOf(b), uintptr(len(b)), uintptr(flags|sendFlags), nil, 0)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
	return call(sysSendto, len(b), fd, dataOf(b), uintptr(len(b)), uintptr(flags|sendFlags), nil, 0)
}

// osSendTo sends one datagram.
func osSendTo(fd FD, b []byte, to *Sockaddr) (int, syscall.Errno) {
	return call(sysSendto, len(b), fd, dataOf(b), uintptr(len(b)), sendFlags, unsafe.Pointer(&to.raw), uintptr(to.Len))
}

// osRecvFrom receives one datagram and reports whether it was longer than b.
func osRecvFrom(fd FD, b []byte, from *Sockaddr) (n int, truncated bool, e syscall.Errno) {
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

// Read is read(2), for descriptors that this package created and that have no duplicates:
// they never block.
func Read(fd FD, b []byte) (int, syscall.Errno) {
	return call(sysRead, len(b), fd, dataOf(b), uintptr(len(b)), 0, nil, 0)
}

// Write is write(2), for descriptors that this package created and that have no duplicates:
// they never block.
func Write(fd FD, b []byte) (int, syscall.Errno) {
	return call(sysWrite, len(b), fd, dataOf(b), uintptr(len(b)), 0, nil, 0)
}

// Iovecs is the argument of a vectored call.
type Iovecs struct {
	v     [MaxIovecs]unix.Iovec
	n     int
	Bytes int
}

// Add appends b, or returns false if v is full. It ignores empty slices.
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

func (v *Iovecs) at(i int) []byte { return unsafe.Slice(v.v[i].Base, int(v.v[i].Len)) }

// osRecvv is readv(2) on a socket, without blocking.
func osRecvv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var h unix.Msghdr
	h.Iov = &v.v[0]
	h.SetIovlen(v.n)
	return call(sysRecvmsg, v.Bytes, fd, unsafe.Pointer(&h), recvFlags, 0, nil, 0)
}

// osSendv is writev(2) on a socket, without SIGPIPE.
func osSendv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var h unix.Msghdr
	h.Iov = &v.v[0]
	h.SetIovlen(v.n)
	return call(sysSendmsg, v.Bytes, fd, unsafe.Pointer(&h), sendFlags, 0, nil, 0)
}
