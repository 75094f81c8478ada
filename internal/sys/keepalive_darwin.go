package sys

import "golang.org/x/sys/unix"

// The times of keep-alive probes, in seconds, and their count; macOS has its own
// name for the first (tcp(4)).
const (
	TCP_KEEPIDLE  = unix.TCP_KEEPALIVE
	TCP_KEEPINTVL = unix.TCP_KEEPINTVL
	TCP_KEEPCNT   = unix.TCP_KEEPCNT
)
