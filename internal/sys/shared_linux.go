package sys

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Shared reads and writes a descriptor that others may switch to blocking, without
// waiting. The zero Shared is ready for use; it is safe for several goroutines.
type Shared struct {
	restores atomic.Bool // the kernel has no RWF_NOWAIT for the file
}

// Plain has s do without RWF_NOWAIT, which would refuse to wait for a disk: regular files
// and the like are always ready (IsAlwaysReady).
func (s *Shared) Plain() { s.restores.Store(true) }

// Read is read(2).
func (s *Shared) Read(fd FD, b []byte) (int, syscall.Errno) {
	if !s.restores.Load() {
		n, e := withoutWaiting(unix.SYS_PREADV2, fd, b)
		if !s.refused(e) {
			return n, e
		}
	}
	return readRestored(fd, b)
}

// Write is write(2).
func (s *Shared) Write(fd FD, b []byte) (int, syscall.Errno) {
	if !s.restores.Load() {
		n, e := withoutWaiting(unix.SYS_PWRITEV2, fd, b)
		if !s.refused(e) {
			return n, e
		}
	}
	return writeRestored(fd, b)
}

// refused reports whether e is how the kernel, or a filter of system calls, refuses
// RWF_NOWAIT (readv(2), errors).
func (s *Shared) refused(e syscall.Errno) bool {
	switch e {
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM:
		s.restores.Store(true)
		return true
	}
	return false
}

// withoutWaiting makes a call of the shape of preadv2(2) at the file's own position (-1).
func withoutWaiting(trap uintptr, fd FD, b []byte) (int, syscall.Errno) {
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
