package conformance

// Windows has no signals that interrupt calls.
func startSignals() (stop func(), ok bool) { return nil, false }
