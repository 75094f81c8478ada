//go:build unix

package webfiles

import "syscall"

// nonblock makes the open of a named pipe return, which otherwise waits for a writer (fifo(7)).
const nonblock = syscall.O_NONBLOCK
