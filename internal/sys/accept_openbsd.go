package sys

import (
	"syscall"
	"unsafe"
)

// sysAccept is accept4(2) here.
func acceptCall(fd FD, p, length unsafe.Pointer) (uintptr, syscall.Errno) {
	return rawNameCall(sysAccept, fd, p, length, createFlags, 0)
}

func longAcceptCall(fd FD, p, length unsafe.Pointer) (uintptr, syscall.Errno) {
	return longNameCall(sysAccept, fd, p, length, createFlags, 0)
}
