//go:build darwin || openbsd

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func kevent(raw bool, kq FD, changes, events []Kevent, timeout *unix.Timespec) (int, syscall.Errno) {
	if raw {
		n, _, e := libcRawSyscall6(sysKevent, uintptr(kq), uintptr(dataOfKevents(changes)), uintptr(len(changes)), uintptr(dataOfKevents(events)), uintptr(len(events)), uintptr(unsafe.Pointer(timeout)))
		return resultOf(n, e)
	}
	n, _, e := libcSyscall6(sysKevent, uintptr(kq), uintptr(dataOfKevents(changes)), uintptr(len(changes)), uintptr(dataOfKevents(events)), uintptr(len(events)), uintptr(unsafe.Pointer(timeout)))
	return resultOf(n, e)
}
