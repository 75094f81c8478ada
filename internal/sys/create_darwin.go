package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// recvFlags and sendFlags keep a call from waiting whatever mode the socket is in: see
// shared_unix.go. XNU's sosend looks at a flag of its own, MSG_NBIO, and not at
// MSG_DONTWAIT (bsd/kern/uipc_socket.c, sosendcheck). There is no flag against SIGPIPE:
// MSG_NOSIGNAL came with macOS 14, so each socket gets SO_NOSIGPIPE instead.
const (
	recvFlags = unix.MSG_DONTWAIT
	sendFlags = unix.MSG_DONTWAIT | msgNBIO
	msgNBIO   = 0x20000
)

// silence keeps a new socket from raising SIGPIPE.
func silence(fd FD) syscall.Errno {
	e := SetInt(fd, unix.SOL_SOCKET, unix.SO_NOSIGPIPE, 1)
	if e == unix.EINVAL {
		return 0 // a socket that the peer has reset already: it raises no signal
	}
	return e
}

// lostInAccept reports whether accept(2) returned a descriptor without a connection. XNU: the
// peer was gone before it was accepted; net skips it, too.
func lostInAccept(from *Sockaddr) bool { return from.Len == 0 }
