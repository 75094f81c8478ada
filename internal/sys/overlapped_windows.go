package sys

import (
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// JoinPort has the completions of fd's overlapped operations sent to port, under key.
// It is the open socket that is joined, with all its duplicates, and to one port at a
// time: of one that belongs to a port already Windows says ERROR_INVALID_PARAMETER,
// which is EINVAL here (CreateIoCompletionPort, remarks).
func JoinPort(fd, port FD, key uintptr) syscall.Errno {
	_, err := windows.CreateIoCompletionPort(fd, port, key, 0)
	if err == windows.ERROR_INVALID_PARAMETER {
		return syscall.EINVAL
	}
	return errno(err)
}

// LeavePort ends what JoinPort began: NtSetInformationFile with
// FileReplaceCompletionInformation and no port (ntifs.h, FILE_INFORMATION_CLASS;
// Windows 8.1). No operation may be in flight on fd. Wine has it not.
func LeavePort(fd FD) syscall.Errno {
	const fileReplaceCompletionInformation = 61
	var info struct{ port, key uintptr } // FILE_COMPLETION_INFORMATION
	var iosb windows.IO_STATUS_BLOCK
	err := windows.NtSetInformationFile(fd, &iosb, (*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)),
		fileReplaceCompletionInformation)
	if err != nil {
		return errnoOfStatus(err)
	}
	return 0
}

// QuietSuccess makes operations on fd that succeed at once send no completion, and
// returns whether it has: without the system's own providers, whose handles are those
// of the kernel (XP1_IFS_HANDLES), the flag does not hold, so that completions come for
// everything (SetFileCompletionNotificationModes, remarks). The socket's own event is
// not set any more either; nobody waits for it.
func QuietSuccess(fd FD) bool {
	const ifsHandles = 0x00020000
	info, e := protocolInfo(fd)
	if e != 0 || info.ServiceFlags1&ifsHandles == 0 {
		return false
	}
	return windows.SetFileCompletionNotificationModes(fd,
		windows.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS|windows.FILE_SKIP_SET_EVENT_ON_HANDLE) == nil
}

// started takes the result of a call with an OVERLAPPED.
func started(r uintptr, e syscall.Errno) (atOnce bool, _ syscall.Errno) {
	if int32(r) != -1 {
		return true, 0
	}
	if e == syscall.Errno(windows.ERROR_IO_PENDING) {
		return false, 0
	}
	return false, errnoOf(e)
}

// StartRecv is WSARecv with an OVERLAPPED: into b, which must be memory that stays, or
// without memory, if b is empty: then it ends when there is something to receive. With
// an error nothing is in flight. atOnce: it has ended, and o.InternalHigh says how many
// bytes it has brought; its completion comes all the same, but for QuietSuccess.
func StartRecv(fd FD, b []byte, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	buf := windows.WSABuf{Len: uint32(len(b)), Buf: unsafe.SliceData(b)}
	if len(b) == 0 {
		buf.Buf = &empty[0]
	}
	var flags uint32
	r, _, e := syscall.SyscallN(procWSARecv.Addr(), uintptr(fd), uintptr(unsafe.Pointer(&buf)), 1, 0,
		uintptr(unsafe.Pointer(&flags)), uintptr(unsafe.Pointer(o)), 0)
	return started(r, e)
}

// StartSend is WSASend with an OVERLAPPED. What v names must stay as it is until the
// completion; v itself is used during the call only (WSASend, lpBuffers). The results
// are those of StartRecv.
func StartSend(fd FD, v *Iovecs, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	p, k := v.first()
	r, _, e := syscall.SyscallN(procWSASend.Addr(), uintptr(fd), uintptr(p), k, 0, 0, uintptr(unsafe.Pointer(o)), 0)
	runtime.KeepAlive(v)
	return started(r, e)
}

// AcceptEx is the address of a provider's AcceptEx.
type AcceptEx uintptr

// FindAcceptEx asks the listener's provider for its AcceptEx.
func FindAcceptEx(listener FD) (AcceptEx, syscall.Errno) {
	id := windows.GUID{Data1: 0xb5367df1, Data2: 0xcbac, Data3: 0x11cf, Data4: [8]byte{0x95, 0xca, 0x00, 0x80, 0x5f, 0x48, 0xa1, 0x92}}
	f, e := findExtension(listener, &id)
	return AcceptEx(f), e
}

// findExtension asks fd's provider for the address of a function (WSAIoctl,
// SIO_GET_EXTENSION_FUNCTION_POINTER).
func findExtension(fd FD, id *windows.GUID) (f uintptr, e syscall.Errno) {
	e = ioctl(fd, windows.SIO_GET_EXTENSION_FUNCTION_POINTER,
		unsafe.Pointer(id), unsafe.Sizeof(*id), unsafe.Pointer(&f), unsafe.Sizeof(f))
	return f, e
}

// StartAccept begins to accept into conn, a new socket of the listener's family. room,
// AcceptBytes of memory that stays, gets the addresses. The results are those of
// StartRecv.
func (f AcceptEx) StartAccept(listener, conn FD, room []byte, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	const addressBytes = SockaddrSize + 16
	var n uint32
	_ = room[AcceptBytes-1]
	r, _, e := syscall.SyscallN(uintptr(f), uintptr(listener), uintptr(conn), uintptr(unsafe.Pointer(&room[0])), 0,
		addressBytes, addressBytes, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(o)))
	if r != 0 {
		return true, 0
	}
	return started(^uintptr(0), e)
}

// AcceptedPeer returns the peer's address of an accept that has ended, whose room it is
// (GetAcceptExSockaddrs); the zero AddrPort if it has none.
func AcceptedPeer(room []byte) netip.AddrPort {
	const addressBytes = SockaddrSize + 16
	var local, remote *windows.RawSockaddrAny
	var localBytes, remoteBytes int32
	windows.GetAcceptExSockaddrs(&room[0], 0, addressBytes, addressBytes, &local, &localBytes, &remote, &remoteBytes)
	if remote == nil || remoteBytes < int32(unsafe.Sizeof(rawInet4{})) {
		return netip.AddrPort{}
	}
	return addrPort((*rawUnix)(unsafe.Pointer(remote)))
}

// FinishAccept gives an accepted socket what Accept's has from the start: it can be
// asked for its addresses, shut down and the like (SO_UPDATE_ACCEPT_CONTEXT).
func FinishAccept(listener, conn FD) syscall.Errno {
	const soUpdateAcceptContext = 0x700B
	return setOption(conn, SOL_SOCKET, soUpdateAcceptContext, unsafe.Pointer(&listener), unsafe.Sizeof(listener))
}

// ConnectEx is the address of a provider's ConnectEx.
type ConnectEx uintptr

// FindConnectEx asks the socket's provider for its ConnectEx.
func FindConnectEx(fd FD) (ConnectEx, syscall.Errno) {
	f, e := findExtension(fd, &windows.WSAID_CONNECTEX)
	return ConnectEx(f), e
}

// BindForConnect gives a socket of the family, if it has none, the local address that
// ConnectEx wants it to have: any. The port is one that connections to other peers may
// share, as with connect, where the system has that (SO_REUSE_UNICASTPORT, Windows 10);
// elsewhere each takes one of its own.
func BindForConnect(fd FD, family int) syscall.Errno {
	const soReuseUnicastPort = 0x3007
	SetInt(fd, SOL_SOCKET, soReuseUnicastPort, 1)
	a := anyAddr(family)
	if e := Bind(fd, &a); e != syscall.EINVAL {
		return e
	}
	return 0 // bound already (bind, WSAEINVAL)
}

// StartConnect begins to connect fd, which must be bound, to an address that stays as
// it is until the completion. The results are those of StartRecv.
func (f ConnectEx) StartConnect(fd FD, to *Sockaddr, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	r, _, e := syscall.SyscallN(uintptr(f), uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), uintptr(to.Len),
		0, 0, 0, uintptr(unsafe.Pointer(o)))
	if r != 0 {
		return true, 0
	}
	return started(^uintptr(0), e)
}

// FinishConnect gives a socket that ConnectEx has connected what connect's has from the
// start (SO_UPDATE_CONNECT_CONTEXT).
func FinishConnect(fd FD) syscall.Errno {
	const soUpdateConnectContext = 0x7010
	return setOption(fd, SOL_SOCKET, soUpdateConnectContext, nil, 0)
}

// CancelOverlapped makes the operation o on fd end soon, or all of fd's if o is nil.
// Their completions still come, and may tell success.
func CancelOverlapped(fd FD, o *Overlapped) {
	syscall.SyscallN(procCancelIoEx.Addr(), uintptr(fd), uintptr(unsafe.Pointer(o)))
}

// OverlappedResult tells how an operation on a socket that is still open has ended
// (WSAGetOverlappedResult). ECANCELED: it has been cancelled.
func OverlappedResult(fd FD, o *Overlapped) (int, syscall.Errno) {
	var n, flags uint32
	r, _, e := syscall.SyscallN(procWSAGetOverlappedResult.Addr(), uintptr(fd), uintptr(unsafe.Pointer(o)),
		uintptr(unsafe.Pointer(&n)), 0, uintptr(unsafe.Pointer(&flags)))
	switch {
	case r != 0:
		return int(n), 0
	case e == syscall.Errno(windows.ERROR_OPERATION_ABORTED):
		return 0, syscall.ECANCELED
	}
	return 0, errnoOf(e)
}

// PageBytes is what AllocPages rounds up to; the addresses are multiples of it.
const PageBytes = 64 << 10

// AllocPages returns fresh memory, zero and off the Go heap: the garbage collector
// must neither move nor free what a kernel writes to. FreePages gives it back.
func AllocPages(bytes int) ([]byte, syscall.Errno) {
	addr, err := windows.VirtualAlloc(0, uintptr(bytes), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return nil, errno(err)
	}
	// Memory that Go does not manage may be named by a number; vet cannot know.
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), bytes), 0
}

// FreePages gives back what AllocPages has returned.
func FreePages(b []byte) {
	windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, windows.MEM_RELEASE)
}
