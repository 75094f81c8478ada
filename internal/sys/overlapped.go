package sys

// Overlapped is OVERLAPPED, whose address identifies an operation in flight. The kernel
// writes Internal and InternalHigh when the operation ends, until its completion is in
// the port. The memory must not be moved, freed or reused before that completion has been
// taken. This file has no OS in its name so that the layout is checked on every system.
type Overlapped struct {
	Internal           NTStatus
	_                  [ptrBytes - 4]byte
	InternalHigh       uintptr
	Offset, OffsetHigh uint32
	Event              uintptr
}

// OverlappedBytes is the memory for one operation.
const OverlappedBytes = 32

// AcceptBytes is the size of the buffer that AcceptEx needs for the two addresses: for each
// the size of the longest address plus 16 bytes.
const AcceptBytes = 256
