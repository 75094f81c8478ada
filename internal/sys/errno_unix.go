//go:build unix

package sys

import (
	"os"
	"syscall"
)

// CallError makes the error that tells of a failed system call: a
// *os.SyscallError.
func CallError(call string, e syscall.Errno) error { return os.NewSyscallError(call, e) }
