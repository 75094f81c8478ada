//go:build darwin || freebsd || netbsd || openbsd || dragonfly || solaris

package sys

import "syscall"

// Shared reads and writes a descriptor that others may switch to blocking. It is safe for
// several goroutines.
type Shared struct{}

// Plain does nothing here: no kind of file needs calls of its own.
func (*Shared) Plain() {}

// Read is read(2).
func (*Shared) Read(fd FD, b []byte) (int, syscall.Errno) { return readRestored(fd, b) }

// Write is write(2).
func (*Shared) Write(fd FD, b []byte) (int, syscall.Errno) { return writeRestored(fd, b) }
