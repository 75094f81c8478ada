//go:build !unix && !windows

package conformance

import "time"

func startSignals() (stop func(), ok bool) { return nil, false }

func cpuTime() (time.Duration, bool) { return 0, false }
