//go:build unix

package sys

// osUnreadBytes returns how many bytes a stream's receive buffer holds (ioctl_list(2), FIONREAD), or
// false if the system does not report it.
func osUnreadBytes(fd FD) (int, bool) {
	return ioctlInt(fd, unreadRequest)
}
