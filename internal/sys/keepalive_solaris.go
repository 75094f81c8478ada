//go:build !illumos

package sys

// The times of keep-alive probes, in seconds, and their count, as Solaris has them from 11.4
// on (<netinet/tcp.h>). golang.org/x/sys has the numbers of illumos, which differ. Before
// 11.4 setsockopt(3SOCKET) refuses them.
const (
	TCP_KEEPIDLE  = 0x1d
	TCP_KEEPINTVL = 0x1e
	TCP_KEEPCNT   = 0x1f
)
