//go:build openbsd || dragonfly || solaris || windows

package sys

// osUnackedBytes returns false: these systems do not report how many bytes the socket holds that
// the peer has not acknowledged.
func osUnackedBytes(FD) (int, bool) { return 0, false }
