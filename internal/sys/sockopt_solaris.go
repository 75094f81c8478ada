package sys

import "golang.org/x/sys/unix"

// missing is the number of an option that a system lacks; setsockopt(3SOCKET) returns
// ENOPROTOOPT for it.
const missing = -1

const (
	// SO_REUSEPORT exists since Solaris 11.4; that of illumos is not reliable.
	SO_REUSEPORT     = missing
	TCP_USER_TIMEOUT = missing

	HasUserTimeout = false
	HasReusePort   = false
	// HasMappedOptions: Pollux does not rely on IPv4 options of an IPv6 socket.
	HasMappedOptions = false
	// NoDelayIsInherited: Pollux does not rely on accepted sockets inheriting the
	// listener's TCP_NODELAY.
	NoDelayIsInherited = false
)

// isByteOption: the IPv4 multicast options are one byte long (ip(4P)).
func isByteOption(level, option int) bool {
	return level == unix.IPPROTO_IP && (option == unix.IP_MULTICAST_TTL || option == unix.IP_MULTICAST_LOOP)
}
