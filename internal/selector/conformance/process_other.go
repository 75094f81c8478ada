//go:build !unix && !windows

package conformance

func startSignals() (stop func(), ok bool) { return nil, false }
