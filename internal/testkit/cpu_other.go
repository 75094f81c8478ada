//go:build !unix && !windows

package testkit

import "time"

// CPUTime returns the processor time that this process has used; ok is false if the system does
// not report it.
func CPUTime() (used time.Duration, ok bool) { return 0, false }
