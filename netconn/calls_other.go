//go:build !windows

package netconn

// The calls that errors name, as those of package net do.
const (
	readCall  = "read"
	writeCall = "write"
)

// resetOnce reports whether the system reports a reset to one call only.
const resetOnce = true
