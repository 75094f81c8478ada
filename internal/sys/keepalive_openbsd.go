package sys

// OpenBSD has keep-alive times only for the whole system, in sysctl
// net.inet.tcp.keepidle and keepintvl.
const (
	TCP_KEEPIDLE  = missing
	TCP_KEEPINTVL = missing
	TCP_KEEPCNT   = missing
)
