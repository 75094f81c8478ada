package sys

import (
	"syscall"
	"unsafe"
)

// Solaris and illumos have no stable system call numbers: the calls go through libc, by two
// functions that Go's runtime provides for golang.org/x/sys, sysvicall6 and rawSysvicall6.
// Their parameters are a pointer to the function's address (libc_solaris.go) and the number of
// arguments.

func libcCall6(fn, nargs, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err syscall.Errno)

func libcRawCall6(fn, nargs, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err syscall.Errno)

// rawCall makes a call that does not block, without notifying Go's scheduler.
func rawCall(fn uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (uintptr, syscall.Errno) {
	n, _, e := libcRawCall6(fn, 6, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
	return n, e
}

// longCall makes a call that may block or take long.
func longCall(fn uintptr, fd FD, p unsafe.Pointer, c, d uintptr, q unsafe.Pointer, f uintptr) (uintptr, syscall.Errno) {
	n, _, e := libcCall6(fn, 6, uintptr(fd), uintptr(p), c, d, uintptr(q), f)
	return n, e
}

// rawNameCall is rawCall for calls that fill in an address and its length.
func rawNameCall(fn uintptr, fd FD, p, length unsafe.Pointer, d, e uintptr) (uintptr, syscall.Errno) {
	n, _, err := libcRawCall6(fn, 6, uintptr(fd), uintptr(p), uintptr(length), d, e, 0)
	return n, err
}

// longNameCall is longCall for calls that fill in an address and its length.
func longNameCall(fn uintptr, fd FD, p, length unsafe.Pointer, d, e uintptr) (uintptr, syscall.Errno) {
	n, _, err := libcCall6(fn, 6, uintptr(fd), uintptr(p), uintptr(length), d, e, 0)
	return n, err
}
