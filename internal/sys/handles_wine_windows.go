package sys

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openHandlesOnWine counts what OpenHandles counts, by asking for the type of each
// handle there can be. The list of all processes' handles must not be asked
// for: Wine 8's server crashes over a process that has none, such as one that is just
// being started, and every program of the prefix hangs (server/handle.c,
// enum_handles: an unsigned index up to a last one of -1).
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

// handleTableSize is how many handles this process has room for, which is what Wine
// gives as its number of handles. The room grows and shrinks with that.
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

// handlesOf looks for a process in a list of SYSTEM_PROCESS_INFORMATION, which
// Wine does not align.
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

// handleType is the kind of object of a handle; empty if that is not open.
func handleType(h uintptr) string {
	const objectTypeInformation = 2
	var b [64]uint64 // OBJECT_TYPE_INFORMATION, which begins with the name, and the name's text
	status, _, _ := procNtQueryObject.Call(h, objectTypeInformation, uintptr(unsafe.Pointer(&b)), unsafe.Sizeof(b), 0)
	if windows.NTStatus(status) != windows.STATUS_SUCCESS {
		return ""
	}
	return (*windows.NTUnicodeString)(unsafe.Pointer(&b)).String()
}
