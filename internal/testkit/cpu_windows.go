package testkit

import (
	"syscall"
	"time"
)

// CPUTime returns the processor time that this process has used; ok is false if the system does
// not report it.
func CPUTime() (used time.Duration, ok bool) {
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, false
	}
	var created, ended, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(self, &created, &ended, &kernel, &user) != nil {
		return 0, false
	}
	hundreds := func(f syscall.Filetime) int64 { return int64(f.HighDateTime)<<32 + int64(f.LowDateTime) }
	return time.Duration(hundreds(kernel)+hundreds(user)) * 100, true
}
