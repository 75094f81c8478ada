//go:build unix

package sys

import "golang.org/x/sys/unix"

// Socket families and types.
const (
	AF_UNSPEC = unix.AF_UNSPEC
	AF_INET   = unix.AF_INET
	AF_INET6  = unix.AF_INET6
	AF_UNIX   = unix.AF_UNIX

	SOCK_STREAM    = unix.SOCK_STREAM
	SOCK_DGRAM     = unix.SOCK_DGRAM
	SOCK_SEQPACKET = unix.SOCK_SEQPACKET
)

// SockaddrSize is the capacity of a Sockaddr in bytes: the size of sockaddr_un, the
// longest address of the families used.
const SockaddrSize = unix.SizeofSockaddrUnix

const (
	sizeInet4 = unix.SizeofSockaddrInet4
	sizeInet6 = unix.SizeofSockaddrInet6
)

type (
	rawUnix  = unix.RawSockaddrUnix
	rawInet4 = unix.RawSockaddrInet4
	rawInet6 = unix.RawSockaddrInet6
)
