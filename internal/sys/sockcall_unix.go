//go:build unix

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Directions of Shutdown.
const (
	SHUT_RD   = unix.SHUT_RD
	SHUT_WR   = unix.SHUT_WR
	SHUT_RDWR = unix.SHUT_RDWR
)

// MSG_PEEK makes Recv leave the data in the buffer; MSG_OOB transfers urgent data.
const (
	MSG_PEEK = unix.MSG_PEEK
	MSG_OOB  = unix.MSG_OOB
)

// osListen makes the socket accept connections, with at most backlog in the accept queue; the
// system may have a lower limit.
func osListen(fd FD, backlog int) syscall.Errno { return errno(unix.Listen(fd, backlog)) }

// osShutdown shuts down one direction or both.
func osShutdown(fd FD, how int) syscall.Errno { return errno(unix.Shutdown(fd, how)) }

// osSetInt sets an integer option.
func osSetInt(fd FD, level, option, value int) syscall.Errno {
	if level == unix.IPPROTO_IPV6 && option == unix.IPV6_V6ONLY && value == 0 && !hasDualStack {
		return 0 // dual stack is not available; V6ONLY stays on
	}
	if isByteOption(level, option) {
		if value < 0 || value > 255 {
			return unix.EINVAL
		}
		return errno(unix.SetsockoptByte(fd, level, option, byte(value)))
	}
	return errno(unix.SetsockoptInt(fd, level, option, value))
}

// osGetInt returns an integer option.
func osGetInt(fd FD, level, option int) (int, syscall.Errno) {
	v, err := unix.GetsockoptInt(fd, level, option)
	return v, errno(err)
}

// osSocketError returns and clears the socket's pending error (SO_ERROR).
func osSocketError(fd FD) syscall.Errno {
	v, e := osGetInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if e != 0 {
		return e
	}
	return syscall.Errno(v)
}

// InProgress reports whether e means that connecting has started.
func InProgress(e syscall.Errno) bool { return e == unix.EINPROGRESS }

// LostInBacklog reports whether accept failed because one connection was lost in the queue:
// the next accept may succeed (accept(2)).
func LostInBacklog(e syscall.Errno) bool {
	switch e {
	case unix.ECONNABORTED, unix.EPROTO:
		return true
	}
	return false
}

// MaxBacklog requests the longest queue that the system allows.
const MaxBacklog = 1<<15 - 1

// ReuseAddrIsSafe: SO_REUSEADDR only makes bind ignore sockets in TIME_WAIT.
const ReuseAddrIsSafe = true

// DisconnectDone reports whether e, the result of connecting a datagram socket to the
// Unspecified address, means that the socket is disconnected: the BSDs return EAFNOSUPPORT
// (connect(2)).
func DisconnectDone(a *Sockaddr, e syscall.Errno) bool {
	return a.Family() == unix.AF_UNSPEC && e == unix.EAFNOSUPPORT
}
