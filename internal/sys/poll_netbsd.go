package sys

import "golang.org/x/sys/unix"

// sysPpoll is pollts(2), which NetBSD had before ppoll and which does the same.
const sysPpoll = unix.SYS_POLLTS
