package sys

import "golang.org/x/sys/unix"

// The times of keep-alive probes, in seconds, and their count (tcp(4P)).
const (
	TCP_KEEPIDLE  = unix.TCP_KEEPIDLE
	TCP_KEEPINTVL = unix.TCP_KEEPINTVL
	TCP_KEEPCNT   = unix.TCP_KEEPCNT
)
