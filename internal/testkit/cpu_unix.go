//go:build unix

package testkit

import (
	"syscall"
	"time"
)

// CPUTime returns the processor time that this process has used; ok is false if the system does
// not report it.
func CPUTime() (used time.Duration, ok bool) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, false
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), true
}
