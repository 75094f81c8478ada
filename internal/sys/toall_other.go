//go:build !linux

package sys

import "syscall"

// MaxBroadcasts is how many addresses DropToAll takes.
const MaxBroadcasts = 0

// DropToAll is for Linux: elsewhere no two sockets share a port.
func DropToAll(FD, [][4]byte) syscall.Errno { return syscall.ENOSYS }

// TakeToAll undoes DropToAll.
func TakeToAll(FD) syscall.Errno { return syscall.ENOSYS }
