package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// FD is the system's handle of an open file or socket.
type FD = windows.Handle

// InvalidFD is not a valid descriptor.
const InvalidFD = windows.InvalidHandle

// WouldBlock reports whether e means that the call would have blocked.
func WouldBlock(e syscall.Errno) bool { return e == syscall.EAGAIN || e == syscall.EWOULDBLOCK }

// IsNotPollable reports whether e is the error for a file that cannot be polled: on Windows
// only sockets can.
func IsNotPollable(e syscall.Errno) bool { return e == syscall.ENOTSOCK }

// osClose closes a socket or another handle.
func osClose(fd FD) syscall.Errno {
	e := closeSocket(fd)
	switch e {
	case syscall.EAGAIN:
		// With a linger time, a non-blocking socket cannot be closed while it has
		// unsent bytes; on a blocking socket the close waits (closesocket, remarks).
		setBlocking(fd, true)
		return closeSocket(fd)
	case syscall.ENOTSOCK, syscall.EBADF:
		return CloseHandle(fd)
	}
	return e
}

// CloseHandle closes a handle that is not a socket.
func CloseHandle(fd FD) syscall.Errno { return errno(windows.CloseHandle(fd)) }

func closeSocket(fd FD) syscall.Errno {
	r, _, e := syscall.SyscallN(procClosesocket.Addr(), uintptr(fd))
	return failed(r, e)
}

// osSetNonblock makes the socket of fd, and of every duplicate, non-blocking. Other files
// have no such mode; that is not an error.
func osSetNonblock(fd FD) syscall.Errno {
	e := setBlocking(fd, false)
	if e != 0 && !isSocket(fd) && isHandle(fd) {
		return 0
	}
	return e
}

func setBlocking(fd FD, on bool) syscall.Errno {
	const fionbio = 0x8004667e
	nonblocking := uint32(1)
	if on {
		nonblocking = 0
	}
	r, _, e := syscall.SyscallN(procIoctlsocket.Addr(), uintptr(fd), fionbio, uintptr(unsafe.Pointer(&nonblocking)))
	return failed(r, e)
}

func isSocket(fd FD) bool {
	_, e := osGetInt(fd, SOL_SOCKET, SO_TYPE)
	return e == 0
}

func isHandle(fd FD) bool {
	_, err := windows.GetFileType(fd)
	return err == nil
}

// CloseOnExec keeps programs that this process starts from inheriting fd.
func CloseOnExec(fd FD) { windows.SetHandleInformation(fd, windows.HANDLE_FLAG_INHERIT, 0) }

// osDup returns another descriptor of the same socket or file, not inherited.
func osDup(fd FD) (FD, syscall.Errno) {
	if e := startWinsock(); e != 0 {
		return InvalidFD, e
	}
	var info windows.WSAProtocolInfo
	err := windows.WSADuplicateSocket(fd, uint32(os.Getpid()), &info)
	if err != nil {
		if !isSocket(fd) {
			return dupHandle(fd)
		}
		return InvalidFD, errno(err)
	}
	const fromInfo = -1 // FROM_PROTOCOL_INFO
	dup, err := windows.WSASocket(fromInfo, fromInfo, fromInfo, &info, 0, socketFlags)
	if err != nil {
		return InvalidFD, errno(err)
	}
	CloseOnExec(dup)
	return dup, 0
}

func dupHandle(fd FD) (FD, syscall.Errno) {
	self := windows.CurrentProcess()
	var dup FD
	if err := windows.DuplicateHandle(self, fd, self, &dup, 0, false, windows.DUPLICATE_SAME_ACCESS); err != nil {
		return InvalidFD, errno(err)
	}
	return dup, 0
}

// osFileKind returns the kind of fd, for error texts: "socket", "pipe", "character device",
// "regular file or directory", or "file".
func osFileKind(fd FD) string {
	if isSocket(fd) {
		return "socket"
	}
	kind, err := windows.GetFileType(fd)
	switch {
	case err != nil:
		return "file"
	case kind == windows.FILE_TYPE_DISK:
		return "regular file or directory"
	case kind == windows.FILE_TYPE_CHAR:
		return "character device"
	case kind == windows.FILE_TYPE_PIPE:
		return "pipe"
	}
	return "file"
}
