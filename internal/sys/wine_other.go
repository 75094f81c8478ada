//go:build !windows

package sys

// OnWine reports whether the system is Wine.
func OnWine() bool { return false }
