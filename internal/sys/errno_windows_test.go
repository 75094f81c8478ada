package sys

import (
	"errors"
	"os"
	"reflect"
	"syscall"
	"testing"

	"golang.org/x/sys/windows"
)

// An error of a call matches the POSIX error and the Winsock error, whether the call returned
// one or the other, and reflection finds the Winsock number, as net/http does.
func TestCallError(t *testing.T) {
	for _, e := range []struct{ returned, posix, native syscall.Errno }{
		{windows.WSAECONNRESET, syscall.ECONNRESET, windows.WSAECONNRESET},
		{windows.WSAECONNREFUSED, syscall.ECONNREFUSED, windows.WSAECONNREFUSED},
		{windows.ERROR_CONNECTION_REFUSED, syscall.ECONNREFUSED, windows.WSAECONNREFUSED},
		{windows.WSAETIMEDOUT, syscall.ETIMEDOUT, windows.WSAETIMEDOUT},
		{windows.WSAESHUTDOWN, syscall.EPIPE, windows.WSAESHUTDOWN},
	} {
		err := CallError("call", errno(e.returned))
		var call *os.SyscallError
		if !errors.As(err, &call) || call.Syscall != "call" {
			t.Fatalf("%v is not a *os.SyscallError of the call", err)
		}
		var found syscall.Errno
		if !errors.Is(err, e.posix) || !errors.Is(err, e.native) || !errors.As(err, &found) || found != e.posix {
			t.Errorf("%d: %v does not match %v and %d, or errors.As finds %d", e.returned, err, e.posix, e.native, found)
		}
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, windows.WSAEINVAL) {
			t.Errorf("%d: %v matches EINVAL", e.returned, err)
		}
		if v := reflect.ValueOf(call.Err); v.Kind() != reflect.Uintptr || v.Uint() != uint64(e.native) {
			t.Errorf("%d: reflection finds a %v, want %d", e.returned, v.Kind(), e.native)
		}
		if call.Timeout() != (e.posix == syscall.ETIMEDOUT) || call.Err.Error() != e.posix.Error() {
			t.Errorf("%d: %v, a timeout: %v", e.returned, call.Err, call.Timeout())
		}
	}
}
