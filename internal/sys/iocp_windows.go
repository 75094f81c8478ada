package sys

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// CreatePort returns a completion port. It does not limit the number of running threads:
// the system counts a thread as running from when it takes a completion until it blocks,
// and Go's threads run other goroutines in that time.
func CreatePort() (FD, syscall.Errno) {
	port, err := windows.CreateIoCompletionPort(InvalidFD, 0, 0, 1<<32-1)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return port, 0
}

// PostPort queues a completion without an operation to the port.
func PostPort(port FD, key uintptr) syscall.Errno {
	r, _, e := syscall.SyscallN(procPostQueuedCompletionStatus.Addr(), uintptr(port), 0, key, 0)
	if r == 0 {
		return errnoOf(e)
	}
	return 0
}

// maxPortWait keeps the longest wait below INFINITE, 2^32-1 ms.
const maxPortWait = 1<<31 - 1

// WaitPort waits until the port has completions, for at most timeout; a negative timeout
// means none. The timeout is rounded up to milliseconds. The system counts in its own
// ticks, and WaitPort may return slightly early.
func WaitPort(port FD, entries []OverlappedEntry, timeout time.Duration) (int, syscall.Errno) {
	const infinite = 1<<32 - 1
	ms := uint32(infinite)
	if timeout >= 0 {
		up := timeout / time.Millisecond
		if timeout%time.Millisecond != 0 {
			up++
		}
		ms = uint32(min(up, maxPortWait))
	}
	var n uint32
	r, _, e := syscall.SyscallN(procGetQueuedCompletionStatusEx.Addr(), uintptr(port),
		uintptr(unsafe.Pointer(unsafe.SliceData(entries))), uintptr(len(entries)),
		uintptr(unsafe.Pointer(&n)), uintptr(ms), 0)
	switch {
	case r != 0:
		return int(n), 0
	case e == syscall.Errno(windows.WAIT_TIMEOUT):
		return 0, 0
	}
	return 0, errnoOf(e)
}
