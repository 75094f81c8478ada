package sys

// Overlapped is OVERLAPPED: the memory by which an operation in flight is known. The
// kernel writes Internal and InternalHigh when the operation ends, up to the moment
// that its completion is in the port; nobody may move, free or use it again before
// that completion has been taken. This file has no OS in its name so that the layout
// is checked on every system.
type Overlapped struct {
	Internal           NTStatus
	_                  [ptrBytes - 4]byte
	InternalHigh       uintptr
	Offset, OffsetHigh uint32
	Event              uintptr
}

// OverlappedBytes is how much memory an operation is given.
const OverlappedBytes = 32

// AcceptBytes is the room that AcceptEx wants for the addresses: for each that of the
// longest address and 16 bytes more.
const AcceptBytes = 256
