package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ShutdownAsClose ends a connection in both directions as close(2) would, while other users keep
// the socket open: with a reset if SO_LINGER is on with a time of 0 (socket(7)), otherwise with FIN.
// Connecting to an address of AF_UNSPEC is what resets a TCP connection (connect(2)).
func ShutdownAsClose(fd FD) {
	var linger [8]byte // struct linger: two ints, l_onoff and l_linger
	v, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
	binary.NativeEndian.PutUint64(linger[:], v)
	on, seconds := binary.NativeEndian.Uint32(linger[:4]), binary.NativeEndian.Uint32(linger[4:])
	if err == nil && on != 0 && seconds == 0 {
		a := Unspecified()
		Connect(fd, &a)
	}
	Shutdown(fd, unix.SHUT_RDWR)
}
