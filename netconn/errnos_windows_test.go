package netconn_test

import (
	"net"
	"os"
	"reflect"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// nativeErrnos has the Winsock errors that package net returns on Windows (Windows Sockets error codes, winsock2.h), where
// package syscall has other numbers for the POSIX errors.
var nativeErrnos = map[syscall.Errno]syscall.Errno{
	syscall.EACCES:        syscall.WSAEACCES,
	syscall.EADDRINUSE:    10048,
	syscall.EADDRNOTAVAIL: 10049,
	syscall.ECONNABORTED:  syscall.WSAECONNABORTED,
	syscall.ECONNREFUSED:  10061,
	syscall.ECONNRESET:    syscall.WSAECONNRESET,
	syscall.EMSGSIZE:      10040,
	syscall.ENOTCONN:      10057,
	syscall.EPIPE:         10058, // WSAESHUTDOWN
}

// The error of a reset passes the test of net/http, which takes it for an expected end of an HTTP/2 connection
// (isClosedConnError).
func TestResetIsKnownToHTTP2(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		if hidesResets(g) {
			t.Skip(resetMayBeEOF)
		}
		err := failures["read after a reset"](netconnOn(g))
		op, ok := err.(*net.OpError)
		if !ok || op.Op != "read" {
			t.Fatalf("%v (%T), want a *net.OpError of read", err, err)
		}
		call, ok := op.Err.(*os.SyscallError)
		if !ok || call.Syscall != "wsarecv" {
			t.Fatalf("%v (%T), want an *os.SyscallError of wsarecv", op.Err, op.Err)
		}
		if v := reflect.ValueOf(call.Err); v.Kind() != reflect.Uintptr || v.Uint() != uint64(syscall.WSAECONNRESET) {
			t.Errorf("%v (%T), want an integer of %d", call.Err, call.Err, syscall.WSAECONNRESET)
		}
	})
}
