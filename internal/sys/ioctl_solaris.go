package sys

import "golang.org/x/sys/unix"

// ioctlInt is that of ioctl_other.go.
func ioctlInt(fd FD, request int) (int, bool) {
	n, err := unix.IoctlGetInt(fd, request)
	return n, err == nil
}
