package sys

// OpenBSD has the times of keep-alive probes for the whole system only, in
// sysctl net.inet.tcp.keepidle and keepintvl.
const (
	TCP_KEEPIDLE  = missing
	TCP_KEEPINTVL = missing
	TCP_KEEPCNT   = missing
)
