package sys

import "golang.org/x/sys/unix"

// An option that a system lacks has the number missing, which setsockopt(3SOCKET)
// refuses with ENOPROTOOPT.
const missing = -1

const (
	// SO_REUSEPORT came with Solaris 11.4; illumos has none that can be relied on.
	SO_REUSEPORT     = missing
	TCP_USER_TIMEOUT = missing

	HasUserTimeout = false
	HasReusePort   = false
	// HasMappedOptions: options of IPv4 are not relied on for a socket of IPv6.
	HasMappedOptions = false
	// NoDelayIsInherited: TCP_NODELAY of a listener is that of what it accepts. It is not
	// relied on.
	NoDelayIsInherited = false
)

// isByteOption: IPv4's multicast options are one byte long (ip(4P)).
func isByteOption(level, option int) bool {
	return level == unix.IPPROTO_IP && (option == unix.IP_MULTICAST_TTL || option == unix.IP_MULTICAST_LOOP)
}
