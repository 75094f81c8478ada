package sys

import "golang.org/x/sys/unix"

// ioctlInt returns the int that the ioctl(2) request stores. Not unix.IoctlGetInt: it passes the
// address of an int of Go, of which the kernel sets 32 bits, and on a big-endian processor the upper
// ones.
func ioctlInt(fd FD, request uint) (int, bool) {
	n, err := unix.IoctlGetUint32(fd, request)
	return int(int32(n)), err == nil
}
