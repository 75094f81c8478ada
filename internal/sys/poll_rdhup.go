//go:build linux || freebsd

package sys

import "golang.org/x/sys/unix"

// POLLRDHUP reports the peer's FIN, if requested.
const POLLRDHUP = unix.POLLRDHUP
