//go:build darwin || openbsd

package sys

import (
	"syscall"
	"unsafe"
)

// macOS and OpenBSD have no stable system call numbers; OpenBSD kills a process
// that makes a system call from outside libc (pinsyscalls(2)). So the calls go through
// libc, by the two functions that Go's runtime provides for golang.org/x/sys.
// libc_*.go declares the libc functions, libc_*.s holds their addresses.

//go:linkname libcSyscall6 syscall.syscall6
func libcSyscall6(fn, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err syscall.Errno)

//go:linkname libcRawSyscall6 syscall.rawSyscall6
func libcRawSyscall6(fn, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err syscall.Errno)

// The addresses of libc's functions, set by libc_*.s.
var (
	sysRead        uintptr
	sysWrite       uintptr
	sysRecvfrom    uintptr
	sysRecvmsg     uintptr
	sysSendto      uintptr
	sysSendmsg     uintptr
	sysConnect     uintptr
	sysBind        uintptr
	sysGetsockname uintptr
	sysGetpeername uintptr
	sysAccept      uintptr
	sysKevent      uintptr
)

// rawCall makes a call that does not block, without notifying Go's scheduler.
func rawCall(fn uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (uintptr, syscall.Errno) {
	n, _, e := libcRawSyscall6(fn, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
	return n, e
}

// longCall makes a call that may block or take long.
func longCall(fn uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (uintptr, syscall.Errno) {
	n, _, e := libcSyscall6(fn, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
	return n, e
}

// rawNameCall is rawCall for calls that fill in an address and its length.
func rawNameCall(fn uintptr, fd FD, p, length unsafe.Pointer, d, e uintptr) (uintptr, syscall.Errno) {
	n, _, err := libcRawSyscall6(fn, uintptr(fd), uintptr(p), uintptr(length), d, e, 0)
	return n, err
}

// longNameCall is longCall for calls that fill in an address and its length.
func longNameCall(fn uintptr, fd FD, p, length unsafe.Pointer, d, e uintptr) (uintptr, syscall.Errno) {
	n, _, err := libcSyscall6(fn, uintptr(fd), uintptr(p), uintptr(length), d, e, 0)
	return n, err
}
