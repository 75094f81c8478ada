//go:build unix

package sys

import (
	"os"
	"syscall"
)

// CallError returns the error of a failed system call, an *os.SyscallError.
func CallError(call string, e syscall.Errno) error { return os.NewSyscallError(call, e) }
