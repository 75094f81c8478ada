//go:build unix

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// FD is the system's handle of an open file or socket.
type FD = int

// InvalidFD is not a valid descriptor.
const InvalidFD FD = -1

// WouldBlock reports whether e means that the call would have blocked.
func WouldBlock(e syscall.Errno) bool { return e == syscall.EAGAIN || e == syscall.EWOULDBLOCK }

// IsNotPollable reports whether e is the error for a file that cannot be polled.
func IsNotPollable(e syscall.Errno) bool { return e == syscall.EPERM }

// osClose closes the descriptor. It does not retry after EINTR: Linux and the BSDs have
// released the descriptor by then (close(2), notes).
func osClose(fd FD) syscall.Errno {
	err := unix.Close(fd)
	if err == unix.EINTR {
		err = nil
	}
	return errno(err)
}

// osSetNonblock makes the open file description of fd, which all duplicates share,
// non-blocking.
func osSetNonblock(fd FD) syscall.Errno { return errno(unix.SetNonblock(fd, true)) }

// CloseOnExec keeps programs that this process starts from inheriting fd.
func CloseOnExec(fd FD) { unix.CloseOnExec(fd) }

// osDup returns another descriptor of the same open file, close-on-exec.
func osDup(fd FD) (FD, syscall.Errno) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return n, 0
}

// errno returns the error number in an error from golang.org/x/sys, whose wrappers return
// no other type.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EINVAL
}

// osFileKind returns the kind of fd: "regular file", "directory", "socket", "pipe",
// "character device", "block device" or "file". Error texts contain it, and backends
// depend on it.
func osFileKind(fd FD) string {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return "file"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "regular file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFIFO:
		return "pipe"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	}
	return "file"
}
