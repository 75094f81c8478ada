//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// An option that a system lacks has the number missing, which setsockopt(2)
// refuses with ENOPROTOOPT.
const missing = -1

const (
	SO_REUSEPORT     = unix.SO_REUSEPORT
	TCP_USER_TIMEOUT = missing

	HasUserTimeout = false
	HasReusePort   = true
	// HasMappedOptions: these systems refuse options of IPv4 on a socket of IPv6 (EINVAL,
	// ENOPROTOOPT). FreeBSD and macOS have IPV6_UNICAST_HOPS set the TTL as well
	// (ip6_ctloutput); those of multicast have nothing to set them for IPv4.
	HasMappedOptions = false
	// NoDelayIsInherited: TCP_NODELAY of a listener is that of what it accepts.
	NoDelayIsInherited = false
)

// isByteOption: IPv4's multicast options are one byte long by ip(4); not every
// BSD also takes an int.
func isByteOption(level, option int) bool {
	return level == unix.IPPROTO_IP && (option == unix.IP_MULTICAST_TTL || option == unix.IP_MULTICAST_LOOP)
}
