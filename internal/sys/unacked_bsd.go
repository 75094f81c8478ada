//go:build freebsd || netbsd

package sys

// UnackedBytes returns how many bytes the socket holds that the peer has not acknowledged
// (<sys/filio.h>, FIONWRITE), or false if the system does not report it.
func UnackedBytes(fd FD) (int, bool) {
	return ioctlInt(fd, fionwrite)
}
