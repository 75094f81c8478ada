//go:build linux || freebsd || netbsd || openbsd || dragonfly

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noSignal makes a send fail with EPIPE without raising SIGPIPE. Systems without the flag
// have a socket option for it (create_darwin.go).
const noSignal = unix.MSG_NOSIGNAL

// recvFlags and sendFlags keep a call from blocking, whatever the socket's mode: see
// shared_unix.go.
const (
	recvFlags = unix.MSG_DONTWAIT
	sendFlags = unix.MSG_DONTWAIT | noSignal
)

const createFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// Socket returns a non-blocking, close-on-exec socket.
func Socket(family, typ, proto int) (FD, syscall.Errno) {
	fd, err := unix.Socket(family, typ|createFlags, proto)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return fd, 0
}

// Socketpair returns two connected non-blocking, close-on-exec Unix sockets.
func Socketpair(typ int) ([2]FD, syscall.Errno) {
	p, err := unix.Socketpair(unix.AF_UNIX, typ|createFlags, 0)
	return p, errno(err)
}

// Pipe returns the two ends of a non-blocking, close-on-exec pipe.
func Pipe() (r, w FD, e syscall.Errno) {
	var p [2]int
	err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return p[0], p[1], errno(err)
}

// osAccept takes a connection off the listener's queue, non-blocking and
// close-on-exec.
func osAccept(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	for {
		from.Len = SockaddrSize
		n, e := acceptCall(fd, unsafe.Pointer(&from.raw), unsafe.Pointer(&from.Len))
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return InvalidFD, e
		}
	}
}

// osAcceptShared is Accept for a listener that may have duplicates (shared_unix.go).
func osAcceptShared(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	for {
		if e := prepareShared(fd); e != 0 {
			return InvalidFD, e
		}
		from.Len = SockaddrSize
		n, e := longAcceptCall(fd, unsafe.Pointer(&from.raw), unsafe.Pointer(&from.Len))
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return InvalidFD, e
		}
	}
}
