package sys

import (
	"syscall"
	"unsafe"
)

// osUnreadBytes returns how many bytes a stream's receive buffer holds (ioctlsocket, FIONREAD), or
// false if the system does not report it.
func osUnreadBytes(fd FD) (int, bool) {
	const fionread = 0x4004667f
	var n uint32
	r, _, _ := syscall.SyscallN(procIoctlsocket.Addr(), uintptr(fd), fionread, uintptr(unsafe.Pointer(&n)))
	return int(n), r == 0
}
