package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// recvFlags and sendFlags keep a call from waiting whatever mode the socket is in: see
// shared_unix.go. MSG_NOSIGNAL is not among them: illumos has it since 2020 only, and
// Solaris may refuse it.
const (
	recvFlags = unix.MSG_DONTWAIT
	sendFlags = unix.MSG_DONTWAIT
)

// silence does nothing: these systems have no option against SIGPIPE. Go's runtime handles
// the signal, and a send that raises it returns EPIPE (os/signal, SIGPIPE).
func silence(FD) syscall.Errno { return 0 }

// lostInAccept reports whether accept(2) returned a descriptor without a connection: never.
func lostInAccept(*Sockaddr) bool { return false }
