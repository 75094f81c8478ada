package sock

import (
	"net"
	"os"
)

// File returns errors.ErrUnsupported: on Windows a socket is not a file.
func (d *Descriptor) File() (*os.File, error) { return nil, d.opError("duplicate", errUnsupported) }

func (d *Descriptor) netConn() (net.Conn, error) {
	return nil, d.opError("duplicate", errUnsupported)
}
