//go:build darwin || solaris

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// macOS, and Solaris before 11.4, have no flags to create descriptors non-blocking and
// close-on-exec. Until a new descriptor is both, syscall.ForkLock keeps os/exec from starting a
// program that would inherit it.

// Socket returns a non-blocking, close-on-exec socket.
func Socket(family, typ, proto int) (FD, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, typ, proto)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return initNew(fd, true)
}

// Socketpair returns two connected non-blocking, close-on-exec Unix sockets.
func Socketpair(typ int) ([2]FD, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	p, err := unix.Socketpair(unix.AF_UNIX, typ, 0)
	if err != nil {
		return p, errno(err)
	}
	return p, initNewPair(p[0], p[1], true)
}

// Pipe returns the two ends of a non-blocking, close-on-exec pipe.
func Pipe() (r, w FD, e syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return InvalidFD, InvalidFD, errno(err)
	}
	return p[0], p[1], initNewPair(p[0], p[1], false)
}

// osAccept takes a connection off the listener's queue, non-blocking and
// close-on-exec. The listener is non-blocking, so the lock is not held for long.
func osAccept(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for {
		from.Len = SockaddrSize
		n, e := rawNameCall(sysAccept, fd, unsafe.Pointer(&from.raw), unsafe.Pointer(&from.Len), 0, 0)
		if e != unix.EINTR {
			return accepted(n, from, e)
		}
	}
}

// osAcceptShared is Accept for a listener that may have duplicates (shared_unix.go).
func osAcceptShared(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for {
		if e := prepareShared(fd); e != 0 {
			return InvalidFD, e
		}
		from.Len = SockaddrSize
		n, e := longNameCall(sysAccept, fd, unsafe.Pointer(&from.raw), unsafe.Pointer(&from.Len), 0, 0)
		if e != unix.EINTR {
			return accepted(n, from, e)
		}
	}
}

// accepted makes the descriptor that accept(2) returned non-blocking and close-on-exec.
func accepted(n uintptr, from *Sockaddr, e syscall.Errno) (FD, syscall.Errno) {
	switch {
	case e != 0:
		return InvalidFD, e
	case lostInAccept(from):
		osClose(int(n))
		return InvalidFD, unix.ECONNABORTED
	}
	return initNew(int(n), true)
}

// initNew makes a new descriptor non-blocking and close-on-exec, and a socket raise no
// SIGPIPE. If that fails, it closes the descriptor.
func initNew(fd FD, socket bool) (FD, syscall.Errno) {
	unix.CloseOnExec(fd)
	e := osSetNonblock(fd)
	if e == 0 && socket {
		e = disableSIGPIPE(fd)
	}
	if e != 0 {
		osClose(fd)
		return InvalidFD, e
	}
	return fd, 0
}

func initNewPair(a, b FD, socket bool) syscall.Errno {
	if _, e := initNew(a, socket); e != 0 {
		osClose(b)
		return e
	}
	if _, e := initNew(b, socket); e != 0 {
		osClose(a)
		return e
	}
	return 0
}
