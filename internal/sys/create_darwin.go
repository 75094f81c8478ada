package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// recvFlags and sendFlags keep a call from blocking, whatever the socket's mode: see
// shared_unix.go. XNU's sosend checks a flag of its own, MSG_NBIO, and not MSG_DONTWAIT
// (bsd/kern/uipc_socket.c, sosendcheck). There is no flag against SIGPIPE before macOS 14,
// which has MSG_NOSIGNAL, so each socket gets SO_NOSIGPIPE instead.
const (
	recvFlags = unix.MSG_DONTWAIT
	sendFlags = unix.MSG_DONTWAIT | msgNBIO
	msgNBIO   = 0x20000
)

// disableSIGPIPE keeps a new socket from raising SIGPIPE.
func disableSIGPIPE(fd FD) syscall.Errno {
	e := osSetInt(fd, unix.SOL_SOCKET, unix.SO_NOSIGPIPE, 1)
	if e == unix.EINVAL {
		return 0 // the peer has already reset the connection: it raises no signal
	}
	return e
}

// lostInAccept reports whether accept(2) returned a descriptor without a connection. XNU does
// so if the peer was gone before the accept; package net skips such a descriptor, too.
func lostInAccept(from *Sockaddr) bool { return from.Len == 0 }
