//go:build unix

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Blocking mode (the lack of O_NONBLOCK) is a property of the open file description, which
// all duplicates share, also those in other processes. os.File.Fd switches to blocking
// mode, and os/exec calls it for each file that is passed to a child: so passing a
// duplicate of one of our descriptors to a child makes ours blocking. A raw call that
// blocks is worse than slow: Go's scheduler is not notified of it, and the next garbage
// collection stops the process until the call returns.
//
// How a call avoids that depends on the system:
//
//   - Calls that transfer data on sockets pass MSG_DONTWAIT, which costs nothing and works
//     in any mode.
//   - accept(2) has no such flag. For a listener that may have duplicates, AcceptShared
//     makes two calls before it, poll(2) and fcntl(2). poll(2) alone is not enough: another
//     process that shares the listener may take the connection before the accept. Restoring
//     O_NONBLOCK alone is not enough: a child may be started between that and the accept.
//     The accept can block only if both happen within the same microsecond. For that case
//     the call is not raw: then one goroutine blocks until the next connection, and the
//     process continues.
//   - read(2) and write(2), on pipes with duplicates and on foreign descriptors, are
//     preadv2(2) and pwritev2(2) with RWF_NOWAIT where the kernel supports that for the file
//     (Linux; pipes since 6.5). Elsewhere O_NONBLOCK is restored before each call, and the
//     call is not raw.
//   - connect(2) is called on new sockets, which have no duplicates.
//   - io_uring ignores O_NONBLOCK in the operations that are used: operations on sockets are
//     tried without blocking, then polled for.
//
// For a listener without duplicates, such as one from ListenTCP or ListenUnix, the two
// extra calls are not needed.

// prepareShared returns zero if a connection can be accepted and fd is non-blocking
// again, or EAGAIN if there is no connection.
func prepareShared(fd FD) syscall.Errno {
	p := [1]PollFD{{Fd: int32(fd), Events: POLLIN}}
	n, e := Poll(p[:], 0)
	if e != 0 {
		return e
	}
	if n == 0 {
		return unix.EAGAIN
	}
	return osSetNonblock(fd)
}

// readRestored makes fd non-blocking, then calls read(2).
func readRestored(fd FD, b []byte) (int, syscall.Errno) {
	for {
		if e := osSetNonblock(fd); e != 0 {
			return 0, e
		}
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return max(n, 0), errno(err)
		}
	}
}

// writeRestored makes fd non-blocking, then calls write(2).
func writeRestored(fd FD, b []byte) (int, syscall.Errno) {
	for {
		if e := osSetNonblock(fd); e != 0 {
			return 0, e
		}
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return max(n, 0), errno(err)
		}
	}
}
