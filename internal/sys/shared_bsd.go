//go:build darwin || freebsd || netbsd || openbsd || dragonfly || solaris

package sys

import "syscall"

// Shared reads and writes a descriptor that other processes may switch to blocking mode.
// It is safe for concurrent use.
type Shared struct{}

// Plain does nothing on these systems: all kinds of files use the same calls.
func (*Shared) Plain() {}

// Read is read(2).
func (*Shared) Read(fd FD, b []byte) (int, syscall.Errno) { return readRestored(fd, b) }

// Write is write(2).
func (*Shared) Write(fd FD, b []byte) (int, syscall.Errno) { return writeRestored(fd, b) }
