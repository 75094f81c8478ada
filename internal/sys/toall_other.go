//go:build !linux

package sys

import "syscall"

// MaxBroadcasts is the maximum number of addresses for DropToAll.
const MaxBroadcasts = 0

// DropToAll is only for Linux: on other systems sockets do not share a port.
func DropToAll(FD, [][4]byte) syscall.Errno { return syscall.ENOSYS }

// TakeToAll undoes DropToAll.
func TakeToAll(FD) syscall.Errno { return syscall.ENOSYS }
