//go:build freebsd || netbsd || dragonfly

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func kevent(raw bool, kq FD, changes, events []Kevent, timeout *unix.Timespec) (int, syscall.Errno) {
	if raw {
		n, _, e := unix.RawSyscall6(unix.SYS_KEVENT, uintptr(kq), uintptr(dataOfKevents(changes)), uintptr(len(changes)), uintptr(dataOfKevents(events)), uintptr(len(events)), uintptr(unsafe.Pointer(timeout)))
		return resultOf(n, e)
	}
	n, _, e := unix.Syscall6(unix.SYS_KEVENT, uintptr(kq), uintptr(dataOfKevents(changes)), uintptr(len(changes)), uintptr(dataOfKevents(events)), uintptr(len(events)), uintptr(unsafe.Pointer(timeout)))
	return resultOf(n, e)
}
