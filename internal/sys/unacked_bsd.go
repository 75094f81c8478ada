//go:build freebsd || netbsd

package sys

// osUnackedBytes returns how many bytes the socket holds that the peer has not acknowledged
// (<sys/filio.h>, FIONWRITE), or false if the system does not report it.
func osUnackedBytes(fd FD) (int, bool) {
	return ioctlInt(fd, fionwrite)
}
