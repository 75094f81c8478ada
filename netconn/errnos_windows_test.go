package netconn_test

import "syscall"

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
