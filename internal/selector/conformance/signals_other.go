//go:build !unix

package conformance

func startSignals() (stop func(), ok bool) { return nil, false }
