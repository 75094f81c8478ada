//go:build linux || freebsd || dragonfly

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func acceptCall(fd FD, p, length unsafe.Pointer) (uintptr, syscall.Errno) {
	return rawNameCall(unix.SYS_ACCEPT4, fd, p, length, createFlags, 0)
}

func longAcceptCall(fd FD, p, length unsafe.Pointer) (uintptr, syscall.Errno) {
	return longNameCall(unix.SYS_ACCEPT4, fd, p, length, createFlags, 0)
}
