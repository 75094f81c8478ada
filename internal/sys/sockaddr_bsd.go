//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

const abstractNames = false

// terminator is the length of the zero byte at the end of a path, which OpenBSD requires.
const terminator = 1

// setFamily also stores the length, which is part of the address on the BSDs.
func setFamily(a *unix.RawSockaddrUnix, family, length int) {
	a.Len, a.Family = uint8(length), uint8(family)
}
