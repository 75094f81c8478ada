package sys

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/windows"
)

// Winsock has its own numbers for the POSIX errors: a refused connection is
// WSAECONNREFUSED, 10061, while syscall.ECONNREFUSED on Windows is a number that
// Go's syscall package has invented (1<<29 or more) and that no call returns. The
// functions of this package return the invented numbers, so that code which compares
// with syscall.E… is right on every system. CallError, which creates the errors
// that callers see, returns one that also matches the Winsock number.

// errnoOf translates a Winsock or Win32 error to the POSIX error. It returns other errors
// unchanged.
func errnoOf(e syscall.Errno) syscall.Errno {
	for i := range errnos {
		if errnos[i].native == e {
			return errnos[i].posix
		}
	}
	if e == 0 { // the call failed without an error number
		return syscall.EINVAL
	}
	return e
}

// nativeOf is the reverse of errnoOf. It returns 0 if there is no Winsock error.
func nativeOf(e syscall.Errno) syscall.Errno {
	for i := range errnos {
		if errnos[i].posix == e {
			return errnos[i].native
		}
	}
	return 0
}

// errnos has the frequent errors first: the table is searched from its start. If two
// native numbers have the same POSIX error, nativeOf returns the first.
var errnos = [...]struct{ native, posix syscall.Errno }{
	{windows.WSAEWOULDBLOCK, syscall.EAGAIN},
	{windows.WSAECONNRESET, syscall.ECONNRESET},
	{windows.WSAECONNABORTED, syscall.ECONNABORTED},
	{windows.WSAECONNREFUSED, syscall.ECONNREFUSED},
	{windows.WSAEMSGSIZE, syscall.EMSGSIZE},
	{windows.WSAENOTCONN, syscall.ENOTCONN},
	{windows.WSAETIMEDOUT, syscall.ETIMEDOUT},
	{windows.WSAEINTR, syscall.EINTR},
	{windows.WSAEBADF, syscall.EBADF},
	{windows.WSAEACCES, syscall.EACCES},
	{windows.WSAEFAULT, syscall.EFAULT},
	{windows.WSAEINVAL, syscall.EINVAL},
	{windows.WSAEMFILE, syscall.EMFILE},
	{windows.WSAEINPROGRESS, syscall.EINPROGRESS},
	{windows.WSAEALREADY, syscall.EALREADY},
	{windows.WSAENOTSOCK, syscall.ENOTSOCK},
	{windows.WSAEDESTADDRREQ, syscall.EDESTADDRREQ},
	{windows.WSAEPROTOTYPE, syscall.EPROTOTYPE},
	{windows.WSAENOPROTOOPT, syscall.ENOPROTOOPT},
	{windows.WSAEPROTONOSUPPORT, syscall.EPROTONOSUPPORT},
	{windows.WSAESOCKTNOSUPPORT, syscall.ESOCKTNOSUPPORT},
	{windows.WSAEOPNOTSUPP, syscall.EOPNOTSUPP},
	{windows.WSAEPFNOSUPPORT, syscall.EPFNOSUPPORT},
	{windows.WSAEAFNOSUPPORT, syscall.EAFNOSUPPORT},
	{windows.WSAEADDRINUSE, syscall.EADDRINUSE},
	{windows.WSAEADDRNOTAVAIL, syscall.EADDRNOTAVAIL},
	{windows.WSAENETDOWN, syscall.ENETDOWN},
	{windows.WSAENETUNREACH, syscall.ENETUNREACH},
	{windows.WSAENETRESET, syscall.ENETRESET},
	{windows.WSAENOBUFS, syscall.ENOBUFS},
	{windows.WSAEISCONN, syscall.EISCONN},
	{windows.WSAESHUTDOWN, syscall.EPIPE},
	{windows.WSAETOOMANYREFS, syscall.ETOOMANYREFS},
	{windows.WSAELOOP, syscall.ELOOP},
	{windows.WSAENAMETOOLONG, syscall.ENAMETOOLONG},
	{windows.WSAEHOSTDOWN, syscall.EHOSTDOWN},
	{windows.WSAEHOSTUNREACH, syscall.EHOSTUNREACH},
	{windows.WSAENOTEMPTY, syscall.ENOTEMPTY},
	{windows.WSAEUSERS, syscall.EUSERS},
	{windows.WSAEDQUOT, syscall.EDQUOT},
	{windows.WSAESTALE, syscall.ESTALE},
	{windows.WSAEREMOTE, syscall.EREMOTE},

	// Errors of the drivers below Winsock that Winsock does not translate.
	{windows.ERROR_CONNECTION_REFUSED, syscall.ECONNREFUSED},
	{windows.ERROR_CONNECTION_ABORTED, syscall.ECONNABORTED},
	{windows.ERROR_NETNAME_DELETED, syscall.ECONNRESET},
	{windows.ERROR_NETWORK_UNREACHABLE, syscall.ENETUNREACH},
	{windows.ERROR_HOST_UNREACHABLE, syscall.EHOSTUNREACH},
	{windows.ERROR_SEM_TIMEOUT, syscall.ETIMEDOUT},
	{windows.ERROR_INVALID_HANDLE, syscall.EBADF},
	{windows.ERROR_TOO_MANY_OPEN_FILES, syscall.EMFILE},
	{windows.ERROR_NOT_ENOUGH_MEMORY, syscall.ENOMEM},
	{windows.ERROR_NO_SYSTEM_RESOURCES, syscall.ENOBUFS},
}

// CallError returns the error of a failed system call, an *os.SyscallError. errors.Is
// matches both syscall.ECONNREFUSED and windows.WSAECONNREFUSED; errors.As finds the
// former.
func CallError(call string, e syscall.Errno) error {
	if native := nativeOf(e); native != 0 {
		return &os.SyscallError{Syscall: call, Err: winsockError(native)}
	}
	return os.NewSyscallError(call, e)
}

// winsockError is a Winsock error that errors.Is matches with the POSIX error, too. It is an
// integer for code that reads the Winsock number by reflection, as net/http does for HTTP/2.
type winsockError syscall.Errno

func (e winsockError) posix() syscall.Errno { return errnoOf(syscall.Errno(e)) }
func (e winsockError) Error() string        { return e.posix().Error() }
func (e winsockError) Unwrap() error        { return e.posix() }
func (e winsockError) Is(target error) bool { return target == syscall.Errno(e) }
func (e winsockError) Timeout() bool        { return e.posix().Timeout() }
func (e winsockError) Temporary() bool      { return e.posix().Temporary() }

// startWinsock calls WSAStartup, once for the process: every socket comes from Socket or
// Dup, which call it. Package net also does that, but a program need not link it.
var startWinsock = sync.OnceValue(func() syscall.Errno {
	var data windows.WSAData
	if err := windows.WSAStartup(0x0202, &data); err != nil {
		return errno(err)
	}
	return 0
})

// failed returns the error of a Winsock call that returns SOCKET_ERROR, -1 as a 32-bit
// integer, when it fails.
func failed(r uintptr, e syscall.Errno) syscall.Errno {
	if int32(r) != -1 {
		return 0
	}
	return errnoOf(e)
}

// errno returns the error number in an error from golang.org/x/sys, whose wrappers return
// no other type.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return errnoOf(e)
	}
	return syscall.EINVAL
}
