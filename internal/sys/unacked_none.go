//go:build openbsd || dragonfly || solaris || windows

package sys

// UnackedBytes returns false: these systems do not report how many bytes the socket holds that
// the peer has not acknowledged.
func UnackedBytes(FD) (int, bool) { return 0, false }
