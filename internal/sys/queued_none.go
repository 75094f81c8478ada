//go:build openbsd || dragonfly || solaris || windows

package sys

// Queued returns how many bytes the socket holds that the peer has not acknowledged, or
// false if the system cannot tell: this one cannot.
func Queued(FD) (int, bool) { return 0, false }
