//go:build linux || freebsd

package sys

import "golang.org/x/sys/unix"

// POLLRDHUP tells of the peer's FIN, if asked for.
const POLLRDHUP = unix.POLLRDHUP
