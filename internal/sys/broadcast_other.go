//go:build !linux

package sys

import "syscall"

// MaxBroadcasts is the maximum number of addresses for DropBroadcasts.
const MaxBroadcasts = 0

// DropBroadcasts is only for Linux: on other systems sockets do not share a port.
func DropBroadcasts(FD, [][4]byte) syscall.Errno { return syscall.ENOSYS }

// AcceptBroadcasts undoes DropBroadcasts.
func AcceptBroadcasts(FD) syscall.Errno { return syscall.ENOSYS }
