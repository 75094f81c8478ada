//go:build !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !solaris && !windows

package conformance

// limitsOf returns the limits of a backend on this system: none.
func limitsOf(string) Limits { return Limits{} }
