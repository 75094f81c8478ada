package sys

import "golang.org/x/sys/unix"

// Options under the names that they have on Linux. HasUserTimeout and the like
// are for systems that lack one.
const (
	SO_REUSEPORT     = unix.SO_REUSEPORT
	TCP_KEEPIDLE     = unix.TCP_KEEPIDLE
	TCP_KEEPINTVL    = unix.TCP_KEEPINTVL
	TCP_KEEPCNT      = unix.TCP_KEEPCNT
	TCP_USER_TIMEOUT = unix.TCP_USER_TIMEOUT

	HasUserTimeout = true
	HasReusePort   = true
	// HasMappedOptions: an IPv6 socket accepts IPv4 options, for its IPv4 peers.
	HasMappedOptions = true
	// NoDelayIsInherited: accepted sockets inherit the listener's TCP_NODELAY.
	NoDelayIsInherited = true
)

func isByteOption(level, option int) bool { return false }
