//go:build linux || freebsd || netbsd || dragonfly

package sys

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PollNanos reports whether Poll's timeouts have nanoseconds.
const PollNanos = true

func pollCall(raw bool, fds []PollFD, timeout time.Duration) (int, syscall.Errno) {
	var ts unix.Timespec
	var t *unix.Timespec
	if timeout >= 0 {
		ts = unix.NsecToTimespec(int64(timeout))
		t = &ts
	}
	if raw {
		n, _, e := unix.RawSyscall6(sysPpoll, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(t)), 0, 0, 0)
		return resultOf(n, e)
	}
	n, _, e := unix.Syscall6(sysPpoll, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(t)), 0, 0, 0)
	return resultOf(n, e)
}
