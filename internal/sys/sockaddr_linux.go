package sys

import "golang.org/x/sys/unix"

const abstractNames = true

func setFamily(a *unix.RawSockaddrUnix, family, _ int) { a.Family = uint16(family) }
