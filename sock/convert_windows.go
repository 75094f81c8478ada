package sock

import (
	"net"
	"os"
)

// File returns errors.ErrUnsupported: on Windows a socket is not a file.
func (d *Descriptor) File() (*os.File, error) { return nil, d.opError("duplicate", errUnsupported) }

// NetConn returns errors.ErrUnsupported: on Windows, package net cannot use an existing
// socket.
func (d *Descriptor) NetConn() (net.Conn, error) {
	return nil, d.opError("duplicate", errUnsupported)
}
