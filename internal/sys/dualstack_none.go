//go:build openbsd || dragonfly

package sys

// IPv6 sockets carry no IPv4 here: ip6(4) of OpenBSD has IPV6_V6ONLY always on, and
// it can only be set to that.
const hasDualStack = false
