package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// msghdr is struct msghdr of <sys/socket.h> with _XPG4_2, the parameter of __xnet_recvmsg.
// golang.org/x/sys has the older field names, and no field for the flags.
type msghdr struct {
	name       *byte
	namelen    uint32
	iov        *unix.Iovec
	iovlen     int32
	control    *byte
	controllen uint32
	flags      int32
}

// Both have the same size, or this does not compile.
var _ [unix.SizeofMsghdr]byte = [unsafe.Sizeof(msghdr{})]byte{}

// messageFlags returns what recvmsg(3XNET) reports about the message.
func messageFlags(h *unix.Msghdr) int { return int((*msghdr)(unsafe.Pointer(h)).flags) }
