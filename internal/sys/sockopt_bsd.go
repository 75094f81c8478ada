//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// An option that a system lacks has the number missing, which setsockopt(2)
// refuses with ENOPROTOOPT.
const missing = -1

const (
	TCP_USER_TIMEOUT = missing

	HasUserTimeout = false
	HasReusePort   = true
	// NoDelayIsInherited: TCP_NODELAY of a listener is that of what it accepts.
	NoDelayIsInherited = false
)

// isByteOption: IPv4's multicast options are one byte long by ip(4); not every
// BSD also takes an int.
func isByteOption(level, option int) bool {
	return level == unix.IPPROTO_IP && (option == unix.IP_MULTICAST_TTL || option == unix.IP_MULTICAST_LOOP)
}
