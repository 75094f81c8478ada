package sys

// Structures and constants of AFD, the driver below Winsock, and of the calls
// that reach it. They are not documented by Microsoft; wepoll, mio and libuv rely
// on the same, and so does Winsock's own select. This file has no OS in its name
// so that their layouts are checked on every system.

// AFD_POLL_* say what to wait for and what has come.
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

// NTStatus is the result of a call of ntdll.
type NTStatus uint32

// The values that mean something here.
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
	Timeout         int64 // in 100 ns; the highest is none
	NumberOfHandles uint32
	Exclusive       uint32
	Handle          uintptr
	Events          uint32
	Status          NTStatus
}

// AFDPollInfoBytes is the size that the driver wants to be told.
const AFDPollInfoBytes = 32

// AFDPoll is the memory of one poll. The kernel writes it until the poll's
// completion has been taken from the port; it must not be moved or freed before.
type AFDPoll struct {
	IOStatusBlock
	AFDPollInfo
	_ [2]uint64 // room for C's padding, and a full 64 bytes on 64-bit systems
}

// OverlappedEntry is OVERLAPPED_ENTRY: what a completion port hands out.
type OverlappedEntry struct {
	Key        uintptr
	Overlapped uintptr
	Internal   uintptr
	Bytes      uint32
}

const ptrBytes = 4 << (^uintptr(0) >> 63)

// PollSlotBytes is how much memory a poll is given: a line of the processor's
// cache, so that two do not share one.
const PollSlotBytes = 64
