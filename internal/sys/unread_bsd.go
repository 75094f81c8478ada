//go:build unix && !linux

package sys

// FIONREAD of the BSDs (<sys/filio.h>), macOS, and Solaris.
const unreadRequest = 0x4004667f
