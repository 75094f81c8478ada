//go:build unix

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Whether calls on a descriptor wait (O_NONBLOCK) is a property of the open file
// description, which all its duplicates share, in other processes too. os.File.Fd
// switches to waiting, and os/exec calls it for each file that a child is given: so to
// hand a duplicate of one of our descriptors to a child makes ours a waiting one. A raw
// call that waits is worse than slow: Go's scheduler does not know of it, and the next
// garbage collection stops the process until the call returns.
//
// What a call does against that depends on what the system has for it:
//
//   - Calls on the data of sockets pass MSG_DONTWAIT, which costs nothing and depends on
//     nobody.
//   - accept(2) has no such flag, so that of a listener that may have duplicates
//     (AcceptShared) comes after two looks. poll(2) alone would not do: whoever shares
//     the listener may take the connection before the accept. To restore O_NONBLOCK
//     alone would not do: a child may be started between that and the accept. Both must
//     happen within the same microsecond for the accept to wait. Against that case the
//     call is one that the scheduler knows of: one goroutine waits then, until the next
//     connection, and the process goes on.
//   - read(2) and write(2), of pipes with duplicates and of foreign descriptors, are
//     preadv2(2) and pwritev2(2) with RWF_NOWAIT where the kernel has that for the file
//     (Linux; pipes since 6.5). Elsewhere O_NONBLOCK is restored before each call, and
//     the scheduler knows of the call.
//   - connect(2) is called on sockets that are new: nobody has a duplicate.
//   - io_uring does not look at O_NONBLOCK in what is used of it: operations on sockets
//     are tried without waiting, then polled for.
//
// A listener without duplicates, which is what ListenTCP and ListenUnix make, is spared
// the two looks.

// prepareShared returns zero if a connection can be accepted and fd is non-blocking
// again, EAGAIN if there is none.
func prepareShared(fd FD) syscall.Errno {
	p := [1]PollFD{{Fd: int32(fd), Events: POLLIN}}
	n, e := Poll(p[:], 0)
	if e != 0 {
		return e
	}
	if n == 0 {
		return unix.EAGAIN
	}
	return SetNonblock(fd)
}

// readRestored is read(2) on a descriptor that is made non-blocking before.
func readRestored(fd FD, b []byte) (int, syscall.Errno) {
	for {
		if e := SetNonblock(fd); e != 0 {
			return 0, e
		}
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return max(n, 0), errno(err)
		}
	}
}

// writeRestored is write(2) on a descriptor that is made non-blocking before.
func writeRestored(fd FD, b []byte) (int, syscall.Errno) {
	for {
		if e := SetNonblock(fd); e != 0 {
			return 0, e
		}
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return max(n, 0), errno(err)
		}
	}
}
