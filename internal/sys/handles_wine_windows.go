package sys

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openHandlesOnWine implements OpenHandles on Wine. It queries the type of each possible
// handle. It must not query the list of all processes' handles: the server of Wine 8
// crashes if a process has none, such as one that is just starting, and then every program
// of the prefix hangs (server/handle.c, enum_handles: an unsigned index up to a last one
// of -1).
func openHandlesOnWine() (int, syscall.Errno) {
	size, e := handleTableSize()
	if e != 0 {
		return 0, e
	}
	n := 0
	for i := range size {
		switch handleType(uintptr(i+1) << 2) {
		case "File", "IoCompletion": // devices and sockets are files
			n++
		}
	}
	return n, 0
}

// handleTableSize returns the capacity of this process's handle table, which Wine returns
// as the number of handles. The capacity grows and shrinks with that number.
func handleTableSize() (int, syscall.Errno) {
	const maxBytes = 16 << 20
	for size := 64 << 10; size < maxBytes; size *= 2 {
		b := make([]byte, size)
		err := windows.NtQuerySystemInformation(windows.SystemProcessInformation, unsafe.Pointer(&b[0]), uint32(size), nil)
		if err == windows.STATUS_INFO_LENGTH_MISMATCH {
			continue
		}
		if err != nil {
			return 0, errnoOfStatus(err)
		}
		return handlesOf(uint32(os.Getpid()), b)
	}
	return 0, syscall.ENOMEM
}

// handlesOf returns the number of handles of a process in a list of
// SYSTEM_PROCESS_INFORMATION, which Wine does not align.
func handlesOf(pid uint32, list []byte) (int, syscall.Errno) {
	var p windows.SYSTEM_PROCESS_INFORMATION
	for {
		if binary.LittleEndian.Uint32(list[unsafe.Offsetof(p.UniqueProcessID):]) == pid {
			return int(binary.LittleEndian.Uint32(list[unsafe.Offsetof(p.HandleCount):])), 0
		}
		next := binary.LittleEndian.Uint32(list)
		if next == 0 {
			return 0, syscall.ENOENT
		}
		list = list[next:]
	}
}

// handleType returns the object type of a handle; empty if the handle is not open.
func handleType(h uintptr) string {
	const objectTypeInformation = 2
	var b [64]uint64 // OBJECT_TYPE_INFORMATION, which begins with the name, and the text of the name
	status, _, _ := procNtQueryObject.Call(h, objectTypeInformation, uintptr(unsafe.Pointer(&b)), unsafe.Sizeof(b), 0)
	if windows.NTStatus(status) != windows.STATUS_SUCCESS {
		return ""
	}
	return (*windows.NTUnicodeString)(unsafe.Pointer(&b)).String()
}
