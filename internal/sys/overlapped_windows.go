package sys

import (
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// JoinPort makes the completions of fd's overlapped operations go to port, with key. It
// applies to the open socket with all its duplicates. A socket can belong to one port at a
// time: if it already belongs to one, Windows returns ERROR_INVALID_PARAMETER, and JoinPort
// EINVAL (CreateIoCompletionPort, remarks).
func JoinPort(fd, port FD, key uintptr) syscall.Errno {
	_, err := windows.CreateIoCompletionPort(fd, port, key, 0)
	if err == windows.ERROR_INVALID_PARAMETER {
		return syscall.EINVAL
	}
	return errno(err)
}

// LeavePort undoes JoinPort: NtSetInformationFile with
// FileReplaceCompletionInformation and no port (ntifs.h, FILE_INFORMATION_CLASS;
// Windows 8.1). No operation may be in flight on fd. Wine does not support it.
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

// SkipCompletionOnSuccess makes operations on fd that succeed immediately post no completion, and
// reports whether that worked. It works only with the system's own providers, whose handles
// are kernel handles (XP1_IFS_HANDLES); with others every operation posts a completion
// (SetFileCompletionNotificationModes, remarks). The socket's own event is no longer set
// either; no thread waits for it.
func SkipCompletionOnSuccess(fd FD) bool {
	const ifsHandles = 0x00020000
	info, e := protocolInfo(fd)
	if e != 0 || info.ServiceFlags1&ifsHandles == 0 {
		return false
	}
	return windows.SetFileCompletionNotificationModes(fd,
		windows.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS|windows.FILE_SKIP_SET_EVENT_ON_HANDLE) == nil
}

// startResult converts the result of a call with an OVERLAPPED.
func startResult(r uintptr, e syscall.Errno) (atOnce bool, _ syscall.Errno) {
	if int32(r) != -1 {
		return true, 0
	}
	if e == syscall.Errno(windows.ERROR_IO_PENDING) {
		return false, 0
	}
	return false, errnoOf(e)
}

// StartRecv is WSARecv with an OVERLAPPED. It receives into b, which must not move or be
// freed until the completion; if b is empty, the operation ends when there are bytes to
// receive. After an error no operation is in flight. atOnce means that it has ended, and
// o.InternalHigh is the number of bytes received; the completion still comes, except with
// SkipCompletionOnSuccess.
func StartRecv(fd FD, b []byte, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	buf := windows.WSABuf{Len: uint32(len(b)), Buf: unsafe.SliceData(b)}
	if len(b) == 0 {
		buf.Buf = &empty[0]
	}
	var flags uint32
	r, _, e := syscall.SyscallN(procWSARecv.Addr(), uintptr(fd), uintptr(unsafe.Pointer(&buf)), 1, 0,
		uintptr(unsafe.Pointer(&flags)), uintptr(unsafe.Pointer(o)), 0)
	return startResult(r, e)
}

// StartSend is WSASend with an OVERLAPPED. The buffers in v must not change until the
// completion; v itself is used only during the call (WSASend, lpBuffers). The results are
// those of StartRecv.
func StartSend(fd FD, v *Iovecs, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	p, k := v.first()
	r, _, e := syscall.SyscallN(procWSASend.Addr(), uintptr(fd), uintptr(p), k, 0, 0, uintptr(unsafe.Pointer(o)), 0)
	runtime.KeepAlive(v)
	return startResult(r, e)
}

// AcceptEx is the address of a provider's AcceptEx.
type AcceptEx uintptr

// FindAcceptEx returns the AcceptEx of the listener's provider.
func FindAcceptEx(listener FD) (AcceptEx, syscall.Errno) {
	id := windows.GUID{Data1: 0xb5367df1, Data2: 0xcbac, Data3: 0x11cf, Data4: [8]byte{0x95, 0xca, 0x00, 0x80, 0x5f, 0x48, 0xa1, 0x92}}
	f, e := findExtension(listener, &id)
	return AcceptEx(f), e
}

// findExtension returns the address of an extension function of fd's provider (WSAIoctl,
// SIO_GET_EXTENSION_FUNCTION_POINTER).
func findExtension(fd FD, id *windows.GUID) (f uintptr, e syscall.Errno) {
	e = ioctl(fd, windows.SIO_GET_EXTENSION_FUNCTION_POINTER,
		unsafe.Pointer(id), unsafe.Sizeof(*id), unsafe.Pointer(&f), unsafe.Sizeof(f))
	return f, e
}

// StartAccept starts accepting into conn, a new socket of the listener's family. The
// addresses are stored in buf, AcceptBytes of memory that must stay until the completion.
// The results are those of StartRecv.
func (f AcceptEx) StartAccept(listener, conn FD, buf []byte, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	const addressBytes = SockaddrSize + 16
	var n uint32
	_ = buf[AcceptBytes-1]
	r, _, e := syscall.SyscallN(uintptr(f), uintptr(listener), uintptr(conn), uintptr(unsafe.Pointer(&buf[0])), 0,
		addressBytes, addressBytes, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(o)))
	if r != 0 {
		return true, 0
	}
	return startResult(^uintptr(0), e)
}

// AcceptedPeer returns the peer's address from the buf of a StartAccept that has completed
// (GetAcceptExSockaddrs), or the zero AddrPort if it has none.
func AcceptedPeer(buf []byte) netip.AddrPort {
	const addressBytes = SockaddrSize + 16
	var local, remote *windows.RawSockaddrAny
	var localBytes, remoteBytes int32
	windows.GetAcceptExSockaddrs(&buf[0], 0, addressBytes, addressBytes, &local, &localBytes, &remote, &remoteBytes)
	if remote == nil || remoteBytes < int32(unsafe.Sizeof(rawInet4{})) {
		return netip.AddrPort{}
	}
	return addrPort((*rawUnix)(unsafe.Pointer(remote)))
}

// FinishAccept makes an accepted socket usable like one from Accept: it has addresses and
// can be shut down (SO_UPDATE_ACCEPT_CONTEXT).
func FinishAccept(listener, conn FD) syscall.Errno {
	const soUpdateAcceptContext = 0x700B
	return setOption(conn, SOL_SOCKET, soUpdateAcceptContext, unsafe.Pointer(&listener), unsafe.Sizeof(listener))
}

// ConnectEx is the address of a provider's ConnectEx.
type ConnectEx uintptr

// FindConnectEx returns the ConnectEx of the socket's provider.
func FindConnectEx(fd FD) (ConnectEx, syscall.Errno) {
	f, e := findExtension(fd, &windows.WSAID_CONNECTEX)
	return ConnectEx(f), e
}

// BindForConnect binds a socket of the family to the wildcard address, unless it is already
// bound: ConnectEx requires a bound socket. Connections to other peers may share the port,
// as with connect, where the system supports that (SO_REUSE_UNICASTPORT, Windows 10);
// elsewhere each connection takes a port of its own.
func BindForConnect(fd FD, family int) syscall.Errno {
	const soReuseUnicastPort = 0x3007
	osSetInt(fd, SOL_SOCKET, soReuseUnicastPort, 1)
	a := anyAddr(family)
	if e := osBind(fd, &a); e != syscall.EINVAL {
		return e
	}
	return 0 // already bound (bind, WSAEINVAL)
}

// StartConnect starts connecting fd, which must be bound, to an address that must not
// change until the completion. The results are those of StartRecv.
func (f ConnectEx) StartConnect(fd FD, to *Sockaddr, o *Overlapped) (atOnce bool, e syscall.Errno) {
	*o = Overlapped{Internal: STATUS_PENDING}
	r, _, e := syscall.SyscallN(uintptr(f), uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), uintptr(to.Len),
		0, 0, 0, uintptr(unsafe.Pointer(o)))
	if r != 0 {
		return true, 0
	}
	return startResult(^uintptr(0), e)
}

// FinishConnect makes a socket that ConnectEx has connected usable like one from Connect
// (SO_UPDATE_CONNECT_CONTEXT).
func FinishConnect(fd FD) syscall.Errno {
	const soUpdateConnectContext = 0x7010
	return setOption(fd, SOL_SOCKET, soUpdateConnectContext, nil, 0)
}

// CancelOverlapped cancels the operation o on fd, or all of fd's operations if o is nil.
// Their completions still come, and may report success.
func CancelOverlapped(fd FD, o *Overlapped) {
	syscall.SyscallN(procCancelIoEx.Addr(), uintptr(fd), uintptr(unsafe.Pointer(o)))
}

// OverlappedResult returns the result of an operation on a socket that is still open
// (WSAGetOverlappedResult). ECANCELED means that it was cancelled.
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

// PageBytes is the granularity of AllocPages: addresses and sizes are multiples of it.
const PageBytes = 64 << 10

// AllocPages allocates zeroed memory outside the Go heap: the garbage collector must
// neither move nor free memory to which the kernel writes. FreePages frees it.
func AllocPages(bytes int) ([]byte, syscall.Errno) {
	addr, err := windows.VirtualAlloc(0, uintptr(bytes), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return nil, errno(err)
	}
	// Go does not manage this memory, so it may have a uintptr address; the conversion
	// through a pointer keeps vet from complaining.
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), bytes), 0
}

// FreePages frees memory from AllocPages.
func FreePages(b []byte) {
	windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, windows.MEM_RELEASE)
}
