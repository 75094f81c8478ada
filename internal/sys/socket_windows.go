package sys

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The calls of this file do not block on a non-blocking socket. They are synchronous:
// without an OVERLAPPED, calls on a socket created for overlapped use return immediately
// (WSARecv, remarks). Go has no raw system calls on Windows. Winsock has no MSG_DONTWAIT:
// if another owner switches the socket to blocking (ioctlsocket, FIONBIO), the calls block,
// which delays only the calling goroutine.

const socketFlags = windows.WSA_FLAG_OVERLAPPED | windows.WSA_FLAG_NO_HANDLE_INHERIT

// maxBytes is the maximum that one call transfers: lengths are 32 bits, signed.
const maxBytes = 1 << 30

var empty [1]byte

// dataOf returns a valid address even for an empty slice, as Winsock requires.
func dataOf(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return unsafe.Pointer(&empty)
	}
	return unsafe.Pointer(unsafe.SliceData(b))
}

func sizeOf(b []byte) uintptr { return uintptr(min(len(b), maxBytes)) }

// count converts the result of a call that returns a number of bytes.
func count(r uintptr, e syscall.Errno) (int, syscall.Errno) {
	if e := failed(r, e); e != 0 {
		return 0, e
	}
	return int(int32(r)), 0
}

// Socket returns a non-blocking socket that is not inherited.
func Socket(family, typ, proto int) (FD, syscall.Errno) {
	if e := startWinsock(); e != 0 {
		return InvalidFD, e
	}
	fd, err := windows.WSASocket(int32(family), int32(typ), int32(proto), nil, 0, socketFlags)
	if err != nil {
		return InvalidFD, errno(err)
	}
	if e := setBlocking(fd, false); e != 0 {
		osClose(fd)
		return InvalidFD, e
	}
	if typ == SOCK_DGRAM {
		ignoreICMPErrors(fd)
	}
	return fd, 0
}

// ignoreICMPErrors keeps an ICMP answer to one datagram from making the next receive, from any
// sender, fail with WSAECONNRESET (SIO_UDP_CONNRESET) or WSAENETRESET. A system that lacks
// the control codes does not have this behaviour.
func ignoreICMPErrors(fd FD) {
	var off uint32
	for _, code := range []uint32{windows.SIO_UDP_CONNRESET, windows.SIO_UDP_NETRESET} {
		ioctl(fd, code, unsafe.Pointer(&off), 4, nil, 0)
	}
}

// ioctl is WSAIoctl, synchronously.
func ioctl(fd FD, code uint32, in unsafe.Pointer, inBytes uintptr, out unsafe.Pointer, outBytes uintptr) syscall.Errno {
	var n uint32
	r, _, e := syscall.SyscallN(procWSAIoctl.Addr(), uintptr(fd), uintptr(code),
		uintptr(in), inBytes, uintptr(out), outBytes, uintptr(unsafe.Pointer(&n)), 0, 0)
	return failed(r, e)
}

// Socketpair is not supported: EWINDOWS, which matches ErrUnsupported with errors.Is.
func Socketpair(int) ([2]FD, syscall.Errno) {
	return [2]FD{InvalidFD, InvalidFD}, syscall.EWINDOWS
}

// Pipe is not supported, because Windows pipes cannot be polled: EWINDOWS, which matches
// ErrUnsupported with errors.Is.
func Pipe() (r, w FD, e syscall.Errno) { return InvalidFD, InvalidFD, syscall.EWINDOWS }

// osAccept takes a connection off the listener's queue, non-blocking and not
// inherited.
func osAccept(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	from.Len = SockaddrSize
	r, _, e := syscall.SyscallN(procAccept.Addr(), uintptr(fd), uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&from.Len)))
	conn := FD(r)
	if conn == InvalidFD {
		return InvalidFD, errnoOf(e)
	}
	CloseOnExec(conn)
	if e := setBlocking(conn, false); e != 0 {
		osClose(conn)
		return InvalidFD, e
	}
	return conn, 0
}

// osAcceptShared is Accept for a listener that may have duplicates, whose owners may have
// made it blocking: AcceptShared makes it non-blocking again.
func osAcceptShared(fd FD, from *Sockaddr) (FD, syscall.Errno) {
	if e := setBlocking(fd, false); e != 0 {
		return InvalidFD, e
	}
	return osAccept(fd, from)
}

// osConnect starts connecting. The usual result is EINPROGRESS, for which Winsock has
// WSAEWOULDBLOCK. An AF_UNSPEC address removes a datagram socket's peer.
func osConnect(fd FD, to *Sockaddr) syscall.Errno {
	var none Sockaddr
	if to.Family() == AF_UNSPEC {
		// Winsock disconnects if the address is the zero address of the socket's family.
		own, e := osLocalAddr(fd)
		if e != 0 {
			return e
		}
		none = Sockaddr{Len: own.Len}
		none.raw.Family = own.raw.Family
		to = &none
	}
	r, _, e := syscall.SyscallN(procConnect.Addr(), uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), uintptr(to.Len))
	if e := failed(r, e); e != syscall.EAGAIN {
		return e
	}
	return syscall.EINPROGRESS
}

// InProgress reports whether e means that connecting has started.
func InProgress(e syscall.Errno) bool { return e == syscall.EINPROGRESS }

// osBind sets the socket's local address.
func osBind(fd FD, a *Sockaddr) syscall.Errno {
	r, _, e := syscall.SyscallN(procBind.Addr(), uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.Len))
	return failed(r, e)
}

// MaxBacklog requests the longest queue that the system allows (SOMAXCONN).
const MaxBacklog = 1<<31 - 1

// osListen makes the socket accept connections, with at most backlog in the accept queue; the
// system may have a lower limit.
func osListen(fd FD, backlog int) syscall.Errno {
	r, _, e := syscall.SyscallN(procListen.Addr(), uintptr(fd), uintptr(backlog))
	return failed(r, e)
}

// LostInBacklog reports whether accept failed because one connection was lost in the queue:
// the next accept may succeed (accept, WSAECONNRESET).
func LostInBacklog(e syscall.Errno) bool { return e == syscall.ECONNRESET || e == syscall.ECONNABORTED }

// Directions of Shutdown.
const (
	SHUT_RD   = windows.SHUT_RD
	SHUT_WR   = windows.SHUT_WR
	SHUT_RDWR = windows.SHUT_RDWR
)

// osShutdown shuts down one direction or both.
func osShutdown(fd FD, how int) syscall.Errno {
	r, _, e := syscall.SyscallN(procShutdown.Addr(), uintptr(fd), uintptr(how))
	return failed(r, e)
}

// osLocalAddr returns the socket's own address. For a socket that is neither bound nor
// connected it returns the zero address of the family, as on Unix; Winsock returns
// WSAEINVAL.
func osLocalAddr(fd FD) (Sockaddr, syscall.Errno) {
	a, e := nameCall(procGetsockname, fd)
	if e != syscall.EINVAL {
		return a, e
	}
	family, e := familyOf(fd)
	if e != 0 {
		return Sockaddr{}, e
	}
	return anyAddr(family), 0
}

// anyAddr returns the wildcard address of an IP family, with port 0.
func anyAddr(family int) Sockaddr {
	a := Sockaddr{Len: sizeInet4}
	if family == AF_INET6 {
		a.Len = sizeInet6
	}
	setFamily(&a.raw, family, int(a.Len))
	return a
}

func familyOf(fd FD) (int, syscall.Errno) {
	info, e := protocolInfo(fd)
	return int(info.AddressFamily), e
}

// protocolInfo returns a socket's provider and protocol (SO_PROTOCOL_INFOW).
func protocolInfo(fd FD) (info windows.WSAProtocolInfo, e syscall.Errno) {
	const soProtocolInfo = 0x2005
	size := int32(unsafe.Sizeof(info))
	r, _, e := syscall.SyscallN(procGetsockopt.Addr(), uintptr(fd), SOL_SOCKET, soProtocolInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)))
	return info, failed(r, e)
}

// osPeerAddr returns the address of the socket's peer, or ENOTCONN if it has none.
func osPeerAddr(fd FD) (Sockaddr, syscall.Errno) { return nameCall(procGetpeername, fd) }

func nameCall(proc *windows.LazyProc, fd FD) (Sockaddr, syscall.Errno) {
	a := Sockaddr{Len: SockaddrSize}
	r, _, e := syscall.SyscallN(proc.Addr(), uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.Len)))
	return a, failed(r, e)
}

// MSG_PEEK makes Recv leave the data in the buffer; MSG_OOB transfers urgent data.
const (
	MSG_PEEK = windows.MSG_PEEK
	MSG_OOB  = windows.MSG_OOB
)

// osRecv is recv. A datagram longer than b fills it, as on Unix. After SHUT_RD it returns 0
// bytes, as on Unix; Winsock returns WSAESHUTDOWN.
func osRecv(fd FD, b []byte, flags int) (int, syscall.Errno) {
	r, _, e := syscall.SyscallN(procRecv.Addr(), uintptr(fd), uintptr(dataOf(b)), sizeOf(b), uintptr(flags))
	return received(r, e, len(b))
}

func received(r uintptr, e syscall.Errno, size int) (int, syscall.Errno) {
	n, e := count(r, e)
	switch e {
	case syscall.EMSGSIZE:
		return size, 0
	case syscall.EPIPE:
		return 0, 0
	}
	return n, e
}

// osSend is send.
func osSend(fd FD, b []byte, flags int) (int, syscall.Errno) {
	r, _, e := syscall.SyscallN(procSend.Addr(), uintptr(fd), uintptr(dataOf(b)), sizeOf(b), uintptr(flags))
	return count(r, e)
}

// osSendTo sends one datagram.
func osSendTo(fd FD, b []byte, to *Sockaddr) (int, syscall.Errno) {
	r, _, e := syscall.SyscallN(procSendto.Addr(), uintptr(fd), uintptr(dataOf(b)), sizeOf(b), 0,
		uintptr(unsafe.Pointer(&to.raw)), uintptr(to.Len))
	return count(r, e)
}

// osRecvFrom receives one datagram and reports whether it was longer than b (WSAEMSGSIZE).
func osRecvFrom(fd FD, b []byte, from *Sockaddr) (n int, truncated bool, e syscall.Errno) {
	from.Len = SockaddrSize
	r, _, e := syscall.SyscallN(procRecvfrom.Addr(), uintptr(fd), uintptr(dataOf(b)), sizeOf(b), 0,
		uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&from.Len)))
	n, e = count(r, e)
	if e != 0 {
		if e == syscall.EMSGSIZE {
			return len(b), true, 0
		}
		from.Len = 0
	}
	return n, false, e
}

// Read is recv: this package creates no other descriptors than sockets.
func Read(fd FD, b []byte) (int, syscall.Errno) { return osRecv(fd, b, 0) }

// Write is send: this package creates no other descriptors than sockets.
func Write(fd FD, b []byte) (int, syscall.Errno) { return osSend(fd, b, 0) }

// Shared reads and writes foreign descriptors, which are sockets on Windows.
type Shared struct{}

// Plain does nothing on Windows.
func (*Shared) Plain() {}

// Read is recv.
func (*Shared) Read(fd FD, b []byte) (int, syscall.Errno) { return osRecv(fd, b, 0) }

// Write is send.
func (*Shared) Write(fd FD, b []byte) (int, syscall.Errno) { return osSend(fd, b, 0) }

// Iovecs is the argument of a vectored call.
type Iovecs struct {
	v     [MaxIovecs]windows.WSABuf
	n     int
	Bytes int
}

// Add appends b, or returns false if it does not fit. It ignores empty slices.
func (v *Iovecs) Add(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if v.n == MaxIovecs || len(b) > maxBytes || v.Bytes > maxBytes-len(b) {
		return false
	}
	v.v[v.n] = windows.WSABuf{Len: uint32(len(b)), Buf: unsafe.SliceData(b)}
	v.n++
	v.Bytes += len(b)
	return true
}

func (v *Iovecs) at(i int) []byte { return unsafe.Slice(v.v[i].Buf, v.v[i].Len) }

// first returns the address and the number of the buffers, at least one, as Winsock
// requires.
func (v *Iovecs) first() (unsafe.Pointer, uintptr) {
	if v.n == 0 {
		v.v[0] = windows.WSABuf{Buf: &empty[0]}
	}
	return unsafe.Pointer(&v.v), uintptr(max(v.n, 1))
}

// osRecvv is WSARecv without an OVERLAPPED.
func osRecvv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var n, flags uint32
	p, k := v.first()
	r, _, e := syscall.SyscallN(procWSARecv.Addr(), uintptr(fd), uintptr(p), k,
		uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&flags)), 0, 0)
	runtime.KeepAlive(v)
	if int32(r) == 0 {
		return int(n), 0
	}
	return received(r, e, v.Bytes)
}

// osSendv is WSASend without an OVERLAPPED. Windows has no SIGPIPE.
func osSendv(fd FD, v *Iovecs) (int, syscall.Errno) {
	var n uint32
	p, k := v.first()
	r, _, e := syscall.SyscallN(procWSASend.Addr(), uintptr(fd), uintptr(p), k, uintptr(unsafe.Pointer(&n)), 0, 0, 0)
	runtime.KeepAlive(v)
	if e := failed(r, e); e != 0 {
		return 0, e
	}
	return int(n), 0
}
