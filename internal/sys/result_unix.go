//go:build unix && !solaris

package sys

import "syscall"

// resultOf makes the count and the error of a call's two results.
func resultOf(n uintptr, e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
