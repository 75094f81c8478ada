//go:build openbsd || dragonfly

package sys

// IPv6 sockets do not serve IPv4 on these systems: ip6(4) of OpenBSD has IPV6_V6ONLY
// always on, and refuses other values.
const hasDualStack = false
