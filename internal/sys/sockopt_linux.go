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
	// HasMappedOptions: a socket of IPv6 takes options of IPv4, for its IPv4 peers.
	HasMappedOptions = true
	// NoDelayIsInherited: TCP_NODELAY of a listener is that of what it accepts.
	NoDelayIsInherited = true
)

func isByteOption(level, option int) bool { return false }
