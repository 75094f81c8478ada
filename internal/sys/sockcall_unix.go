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

// MSG_PEEK makes Recv leave the data; MSG_OOB moves urgent data.
const (
	MSG_PEEK = unix.MSG_PEEK
	MSG_OOB  = unix.MSG_OOB
)

// Listen makes the socket accept connections, backlog of them waiting at most;
// the system may have a lower bound.
func Listen(fd FD, backlog int) syscall.Errno { return errno(unix.Listen(fd, backlog)) }

// Shutdown ends one direction or both.
func Shutdown(fd FD, how int) syscall.Errno { return errno(unix.Shutdown(fd, how)) }

// SetInt sets an integer option.
func SetInt(fd FD, level, option, value int) syscall.Errno {
	if level == unix.IPPROTO_IPV6 && option == unix.IPV6_V6ONLY && value == 0 && !hasDualStack {
		return 0 // the closest it gets
	}
	if isByteOption(level, option) {
		if value < 0 || value > 255 {
			return unix.EINVAL
		}
		return errno(unix.SetsockoptByte(fd, level, option, byte(value)))
	}
	return errno(unix.SetsockoptInt(fd, level, option, value))
}

// GetInt returns an integer option.
func GetInt(fd FD, level, option int) (int, syscall.Errno) {
	v, err := unix.GetsockoptInt(fd, level, option)
	return v, errno(err)
}

// SocketError takes the pending error off the socket (SO_ERROR).
func SocketError(fd FD) syscall.Errno {
	v, e := GetInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if e != 0 {
		return e
	}
	return syscall.Errno(v)
}

// InProgress reports whether e says that connecting has begun.
func InProgress(e syscall.Errno) bool { return e == unix.EINPROGRESS }

// LostInBacklog reports whether accept failed for one connection only, which was
// lost while it waited: the next may be well (accept(2)).
func LostInBacklog(e syscall.Errno) bool {
	switch e {
	case unix.ECONNABORTED, unix.EPROTO:
		return true
	}
	return false
}

// MaxBacklog asks for as long a queue as the system allows.
const MaxBacklog = 1<<15 - 1

// ReuseAddrIsSafe: SO_REUSEADDR does no more than to skip TIME_WAIT.
const ReuseAddrIsSafe = true

// DisconnectDone reports whether e, from connecting a datagram socket to no
// address, is how some systems say that it is disconnected (connect(2) on the
// BSDs: EAFNOSUPPORT).
func DisconnectDone(a *Sockaddr, e syscall.Errno) bool {
	return a.Family() == unix.AF_UNSPEC && e == unix.EAFNOSUPPORT
}
