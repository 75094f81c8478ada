package sock

import (
	"net"
	"os"
)

// File would return a duplicate as an *os.File. On Windows a socket is no file:
// errors.ErrUnsupported.
func (d *Descriptor) File() (*os.File, error) { return nil, d.failure("duplicate", errUnsupported) }

// NetConn would return a duplicate as a net.Conn. Go's net package takes over no
// sockets on Windows: errors.ErrUnsupported.
func (d *Descriptor) NetConn() (net.Conn, error) {
	return nil, d.failure("duplicate", errUnsupported)
}
