package sys

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// CreatePort returns a completion port. It lets any number of threads run: the
// system counts a thread as running from the moment it takes a completion until
// it blocks, and Go's threads go on to other goroutines' work then.
func CreatePort() (FD, syscall.Errno) {
	port, err := windows.CreateIoCompletionPort(InvalidFD, 0, 0, 1<<32-1)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return port, 0
}

// PostPort makes the port hand out a completion without an operation.
func PostPort(port FD, key uintptr) syscall.Errno {
	r, _, e := syscall.SyscallN(procPostQueuedCompletionStatus.Addr(), uintptr(port), 0, key, 0)
	if r == 0 {
		return errnoOf(e)
	}
	return 0
}

// maxPortWait keeps the longest wait below INFINITE, 2^32-1 ms.
const maxPortWait = 1<<31 - 1

// WaitPort waits until the port has completions, for timeout at the most; negative
// waits forever. Milliseconds are rounded up. The system counts in its own ticks,
// and may be back a little early.
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
