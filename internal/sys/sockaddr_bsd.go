//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

const abstractNames = false

// terminator is the zero byte at the end of a path, without which OpenBSD refuses it.
const terminator = 1

// setFamily also stores the length, which the BSDs have in the address itself.
func setFamily(a *unix.RawSockaddrUnix, family, length int) {
	a.Len, a.Family = uint8(length), uint8(family)
}
