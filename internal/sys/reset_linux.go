package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Linger returns SO_LINGER: whether it is on, and its time in seconds.
func Linger(fd FD) (on bool, seconds int) {
	var linger [8]byte // struct linger: two ints, l_onoff and l_linger
	v, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
	binary.NativeEndian.PutUint64(linger[:], v)
	on = err == nil && binary.NativeEndian.Uint32(linger[:4]) != 0
	return on, int(binary.NativeEndian.Uint32(linger[4:]))
}

// ShutdownAsClose ends a connection in both directions as close(2) would, while other users keep
// the socket open: with a reset if SO_LINGER is on with a time of 0 (socket(7)), otherwise with FIN.
// Connecting to an address of AF_UNSPEC is what resets a TCP connection (connect(2)).
func ShutdownAsClose(fd FD) {
	if on, seconds := Linger(fd); on && seconds == 0 {
		a := Unspecified()
		osConnect(fd, &a)
	}
	osShutdown(fd, unix.SHUT_RDWR)
}
