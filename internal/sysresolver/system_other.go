//go:build !windows

package dns

// systemLookup returns the system's resolver, and the path of its answers.
func systemLookup() (hostLookup, Path) { return netLookup, PathPool }
