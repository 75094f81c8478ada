package sys

import "syscall"

// SetReusePort sets SO_REUSEPORT of a socket, also of one that is bound already: Linux compares
// the sockets of a port at each bind.
func SetReusePort(fd FD, on bool) syscall.Errno {
	value := 0
	if on {
		value = 1
	}
	return osSetInt(fd, SOL_SOCKET, SO_REUSEPORT, value)
}

// ReusePort returns whether SO_REUSEPORT is set.
func ReusePort(fd FD) (bool, syscall.Errno) {
	v, e := osGetInt(fd, SOL_SOCKET, SO_REUSEPORT)
	return v != 0, e
}
