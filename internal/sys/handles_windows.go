package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// OpenHandles returns the number of files, devices, sockets and completion ports that this
// process has open, for leak tests. It does not count threads and the objects on which
// they sleep, whose number Go's runtime determines; GetProcessHandleCount includes these,
// and Wine does not support it.
func OpenHandles() (int, syscall.Errno) {
	if OnWine() {
		return openHandlesOnWine()
	}
	port, e := CreatePort()
	if e != 0 {
		return 0, e
	}
	defer CloseHandle(port)
	socket, e := Socket(AF_INET, SOCK_DGRAM, 0)
	if e != 0 {
		return 0, e
	}
	defer osClose(socket)
	all, e := systemHandles()
	if e != 0 {
		return 0, e
	}
	self := uintptr(os.Getpid())
	var counted [1 << 8]bool // by type
	for _, h := range all {
		if h.process == self && (h.handle == uintptr(port) || h.handle == uintptr(socket)) {
			counted[h.kind&0xff] = true
		}
	}
	n := -2
	for _, h := range all {
		if h.process == self && counted[h.kind&0xff] {
			n++
		}
	}
	return n, 0
}

// systemHandle is SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX.
type systemHandle struct {
	object, process, handle uintptr
	access                  uint32
	_, kind                 uint16
	_, _                    uint32
}

// systemHandles returns all handles of all processes.
func systemHandles() ([]systemHandle, syscall.Errno) {
	type header struct{ count, reserved uintptr }
	const (
		lengthMismatch = windows.NTStatus(0xC0000004)
		maxBytes       = 256 << 20
	)
	for size := 1 << 20; size < maxBytes; size *= 2 {
		b := make([]uintptr, size/ptrBytes)
		err := windows.NtQuerySystemInformation(windows.SystemExtendedHandleInformation, unsafe.Pointer(&b[0]), uint32(size), nil)
		if err == lengthMismatch {
			continue
		}
		if err != nil {
			return nil, errnoOfStatus(err)
		}
		first := unsafe.Add(unsafe.Pointer(&b[0]), unsafe.Sizeof(header{}))
		return unsafe.Slice((*systemHandle)(first), (*header)(unsafe.Pointer(&b[0])).count), 0
	}
	return nil, syscall.ENOMEM
}
