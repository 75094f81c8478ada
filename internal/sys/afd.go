package sys

// Structures and constants of AFD, the driver below Winsock, and of the calls
// that reach it. They are not documented by Microsoft; wepoll, mio and libuv rely
// on the same, and so does Winsock's own select. This file has no OS in its name
// so that their layouts are checked on every system.

// AFD_POLL_* are the events to wait for and the events that have occurred.
const (
	AFD_POLL_RECEIVE      = 0x0001
	AFD_POLL_EXPEDITED    = 0x0002 // urgent data
	AFD_POLL_SEND         = 0x0004
	AFD_POLL_DISCONNECT   = 0x0008 // the peer's FIN
	AFD_POLL_ABORT        = 0x0010 // the peer's RST
	AFD_POLL_LOCAL_CLOSE  = 0x0020 // the handle has been closed on this side
	AFD_POLL_ACCEPT       = 0x0080
	AFD_POLL_CONNECT_FAIL = 0x0100
)

// NTStatus is the result of an ntdll call.
type NTStatus uint32

// The NTStatus values that Pollux uses.
const (
	STATUS_SUCCESS                NTStatus = 0
	STATUS_PENDING                NTStatus = 0x103
	STATUS_INVALID_HANDLE         NTStatus = 0xC0000008
	STATUS_NO_MEMORY              NTStatus = 0xC0000017
	STATUS_INSUFFICIENT_RESOURCES NTStatus = 0xC000009A
	STATUS_CANCELLED              NTStatus = 0xC0000120
)

// Failed reports whether s is an error, or a warning: its highest bit is set.
func (s NTStatus) Failed() bool { return s >= 0x80000000 }

// IOStatusBlock is IO_STATUS_BLOCK. Status is in the low 32 bits of a word that
// is as long as a pointer.
type IOStatusBlock struct {
	Status      NTStatus
	_           [ptrBytes - 4]byte
	Information uintptr
}

// AFDPollInfo is AFD_POLL_INFO with one handle. C pads it to AFDPollInfoBytes
// where Go does not (386).
type AFDPollInfo struct {
	Timeout         int64 // in units of 100 ns; the maximum means no timeout
	NumberOfHandles uint32
	Exclusive       uint32
	Handle          uintptr
	Events          uint32
	Status          NTStatus
}

// AFDPollInfoBytes is the size to pass to the driver.
const AFDPollInfoBytes = 32

// AFDPoll is the memory of one poll. The kernel writes it until the poll's
// completion has been taken from the port; it must not be moved or freed before.
type AFDPoll struct {
	IOStatusBlock
	AFDPollInfo
	_ [2]uint64 // space for C's padding; makes it 64 bytes on 64-bit systems
}

// OverlappedEntry is OVERLAPPED_ENTRY: a completion that a port returns.
type OverlappedEntry struct {
	Key        uintptr
	Overlapped uintptr
	Internal   uintptr
	Bytes      uint32
}

const ptrBytes = 4 << (^uintptr(0) >> 63)

// PollSlotBytes is the memory for one poll: a cache line, so that no two polls share one.
const PollSlotBytes = 64
