//go:build unix

package limits

import "golang.org/x/sys/unix"

// More is how to get more descriptors.
const More = "raise the limit (ulimit -n; pollux doctor shows how)"

// Descriptors returns RLIMIT_NOFILE; ok is false if it cannot be read. Go raises
// the soft limit to the hard one when a program starts.
func Descriptors() (soft, hard uint64, ok bool) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, 0, false
	}
	return uint64(r.Cur), uint64(r.Max), true
}
