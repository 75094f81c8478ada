//go:build linux || freebsd || netbsd || dragonfly

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls by number, on systems whose numbers are stable. Pointers are converted to
// uintptr in the call expression itself: before it, the stack into which they may point
// can still move.

const (
	sysRead        = unix.SYS_READ
	sysWrite       = unix.SYS_WRITE
	sysRecvfrom    = unix.SYS_RECVFROM
	sysRecvmsg     = unix.SYS_RECVMSG
	sysSendto      = unix.SYS_SENDTO
	sysSendmsg     = unix.SYS_SENDMSG
	sysConnect     = unix.SYS_CONNECT
	sysBind        = unix.SYS_BIND
	sysGetsockname = unix.SYS_GETSOCKNAME
	sysGetpeername = unix.SYS_GETPEERNAME
)

// rawCall makes a call that does not block, without notifying Go's scheduler.
func rawCall(trap uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (uintptr, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(trap, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
	return n, e
}

// longCall makes a call that may block or take long.
func longCall(trap uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (uintptr, syscall.Errno) {
	n, _, e := syscall.Syscall6(trap, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
	return n, e
}

// rawNameCall is rawCall for calls that fill in an address and its length.
func rawNameCall(trap uintptr, fd FD, p, length unsafe.Pointer, d, e uintptr) (uintptr, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(trap, uintptr(fd), uintptr(p), uintptr(length), d, e, 0)
	return n, err
}

// longNameCall is longCall for calls that fill in an address and its length.
func longNameCall(trap uintptr, fd FD, p, length unsafe.Pointer, d, e uintptr) (uintptr, syscall.Errno) {
	n, _, err := syscall.Syscall6(trap, uintptr(fd), uintptr(p), uintptr(length), d, e, 0)
	return n, err
}
