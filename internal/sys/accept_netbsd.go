package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// paccept(2) has a signal mask before the flags; it is not used.
func acceptCall(fd FD, p, length unsafe.Pointer) (uintptr, syscall.Errno) {
	return rawNameCall(unix.SYS_PACCEPT, fd, p, length, 0, createFlags)
}

func longAcceptCall(fd FD, p, length unsafe.Pointer) (uintptr, syscall.Errno) {
	return longNameCall(unix.SYS_PACCEPT, fd, p, length, 0, createFlags)
}
