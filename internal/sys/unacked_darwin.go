package sys

// osUnackedBytes returns how many bytes the socket holds that the peer has not acknowledged
// (getsockopt(2), SO_NWRITE), or false if the system does not report it.
func osUnackedBytes(fd FD) (int, bool) {
	const soNWrite = 0x1024
	n, e := osGetInt(fd, SOL_SOCKET, soNWrite)
	return n, e == 0
}
