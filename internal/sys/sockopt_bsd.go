//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// missing is the number of an option that a system lacks; setsockopt(2) returns
// ENOPROTOOPT for it.
const missing = -1

const (
	SO_REUSEPORT     = unix.SO_REUSEPORT
	TCP_USER_TIMEOUT = missing

	HasUserTimeout = false
	HasReusePort   = true
	// HasMappedOptions: these systems refuse IPv4 options on an IPv6 socket (EINVAL,
	// ENOPROTOOPT). On FreeBSD and macOS IPV6_UNICAST_HOPS also sets the TTL
	// (ip6_ctloutput); nothing sets the multicast options for IPv4.
	HasMappedOptions = false
	// NoDelayIsInherited: accepted sockets inherit the listener's TCP_NODELAY.
	NoDelayIsInherited = false
)

// isByteOption: the IPv4 multicast options are one byte long (ip(4)); not every BSD also
// accepts an int.
func isByteOption(level, option int) bool {
	return level == unix.IPPROTO_IP && (option == unix.IP_MULTICAST_TTL || option == unix.IP_MULTICAST_LOOP)
}
