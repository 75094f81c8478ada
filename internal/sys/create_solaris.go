package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// recvFlags and sendFlags keep a call from blocking, whatever the socket's mode: see
// shared_unix.go. MSG_NOSIGNAL is not among them: illumos has it only since 2020, and
// Solaris may refuse it.
const (
	recvFlags = unix.MSG_DONTWAIT
	sendFlags = unix.MSG_DONTWAIT
)

// disableSIGPIPE does nothing: these systems have no option against SIGPIPE. Go's runtime handles
// the signal, and a send that raises it returns EPIPE (os/signal, SIGPIPE).
func disableSIGPIPE(FD) syscall.Errno { return 0 }

// lostInAccept reports whether accept(2) returned a descriptor without a connection: never.
func lostInAccept(*Sockaddr) bool { return false }
