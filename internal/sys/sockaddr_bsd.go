//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

const abstractNames = false

// setFamily also stores the length, which the BSDs have in the address itself.
func setFamily(a *unix.RawSockaddrUnix, family, length int) {
	a.Len, a.Family = uint8(length), uint8(family)
}
