//go:build !unix

package limits

// More is how to get more descriptors.
const More = "end other programs"

// Descriptors returns RLIMIT_NOFILE; ok is false if the system has no such limit.
func Descriptors() (soft, hard uint64, ok bool) { return 0, 0, false }
