package sys

import "golang.org/x/sys/windows"

// Socket families and types.
const (
	AF_UNSPEC = windows.AF_UNSPEC
	AF_INET   = windows.AF_INET
	AF_INET6  = windows.AF_INET6
	AF_UNIX   = windows.AF_UNIX

	SOCK_STREAM    = windows.SOCK_STREAM
	SOCK_DGRAM     = windows.SOCK_DGRAM
	SOCK_SEQPACKET = windows.SOCK_SEQPACKET
)

// SockaddrSize is the capacity of a Sockaddr in bytes: the size of sockaddr_un, the
// longest address of the families used.
const SockaddrSize = 110

const (
	sizeInet4 = 16
	sizeInet6 = 28
)

type (
	rawUnix  = windows.RawSockaddrUnix
	rawInet4 = windows.RawSockaddrInet4
	rawInet6 = windows.RawSockaddrInet6
)

// Windows has AF_UNIX since 10 1803, but its names are only paths.
const abstractNames = false

// terminator is the length of the zero byte at the end of a path.
const terminator = 1

func setFamily(a *rawUnix, family, _ int) { a.Family = uint16(family) }
