package sys

import "golang.org/x/sys/unix"

const unreadRequest = unix.SIOCINQ
