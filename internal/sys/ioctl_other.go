//go:build unix && !linux && !solaris

package sys

import "golang.org/x/sys/unix"

// ioctlInt returns the int that the ioctl(2) request stores. Go runs on little-endian processors
// only on these systems: see ioctl_linux.go.
func ioctlInt(fd FD, request uint) (int, bool) {
	n, err := unix.IoctlGetInt(fd, request)
	return n, err == nil
}
