package sys

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Shared reads and writes a descriptor that other processes may switch to blocking mode,
// without blocking. The zero Shared is ready for use. It is safe for concurrent use.
type Shared struct {
	restoreMode atomic.Bool // restore O_NONBLOCK before each call, instead of RWF_NOWAIT
}

// Plain makes s not use RWF_NOWAIT, which does not wait for a disk: it is for regular files
// and other files that are always ready (IsAlwaysReady).
func (s *Shared) Plain() { s.restoreMode.Store(true) }

// Read is read(2).
func (s *Shared) Read(fd FD, b []byte) (int, syscall.Errno) {
	if !s.restoreMode.Load() {
		n, e := callNowait(unix.SYS_PREADV2, fd, b)
		if !s.refused(e) {
			return n, e
		}
	}
	return readRestored(fd, b)
}

// Write is write(2).
func (s *Shared) Write(fd FD, b []byte) (int, syscall.Errno) {
	if !s.restoreMode.Load() {
		n, e := callNowait(unix.SYS_PWRITEV2, fd, b)
		if !s.refused(e) {
			return n, e
		}
	}
	return writeRestored(fd, b)
}

// refused reports whether e means that the kernel, or a system call filter, refuses
// RWF_NOWAIT (readv(2), errors). If so, later calls do not use it.
func (s *Shared) refused(e syscall.Errno) bool {
	switch e {
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM:
		s.restoreMode.Store(true)
		return true
	}
	return false
}

// callNowait calls preadv2(2) or pwritev2(2) with RWF_NOWAIT at the file's current
// position (-1).
func callNowait(trap uintptr, fd FD, b []byte) (int, syscall.Errno) {
	const own = ^uintptr(0)
	var v unix.Iovec
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
	for {
		n, _, e := syscall.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&v)), 1, own, own, unix.RWF_NOWAIT)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
}
