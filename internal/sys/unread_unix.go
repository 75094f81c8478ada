//go:build unix

package sys

// UnreadBytes returns how many bytes a stream's receive buffer holds (ioctl_list(2), FIONREAD), or
// false if the system does not report it.
func UnreadBytes(fd FD) (int, bool) {
	return ioctlInt(fd, unreadRequest)
}
