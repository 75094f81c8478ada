//go:build unix && !solaris

package sys

import "syscall"

// resultOf converts the two results of a call to a count and an error.
func resultOf(n uintptr, e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
