//go:build unix && !solaris

package sys

import "golang.org/x/sys/unix"

// messageFlags returns what recvmsg(2) reports about the message.
func messageFlags(h *unix.Msghdr) int { return int(h.Flags) }
