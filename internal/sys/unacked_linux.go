package sys

import "golang.org/x/sys/unix"

// osUnackedBytes returns how many bytes the socket holds that the peer has not acknowledged
// (tcp(7), unix(7): SIOCOUTQ), or false if the system does not report it.
func osUnackedBytes(fd FD) (int, bool) {
	return ioctlInt(fd, unix.SIOCOUTQ)
}
