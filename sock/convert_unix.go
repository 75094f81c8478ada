//go:build unix

package sock

import (
	"net"
	"os"

	"github.com/pollux-io/pollux/internal/sys"
)

// File returns a duplicate as an *os.File, which Go's own poller watches.
func (d *Descriptor) File() (*os.File, error) {
	var f *os.File
	err := d.use("duplicate", func(fd sys.FD) error {
		d.h.Share()
		dup, e := sys.Dup(fd)
		if e != 0 {
			return d.failed("duplicate", "fcntl", e)
		}
		f = os.NewFile(uintptr(dup), d.h.Kind().Network())
		return nil
	})
	return f, err
}

// NetConn returns a duplicate as a net.Conn: TCP, connected UDP and Unix sockets.
func (d *Descriptor) NetConn() (net.Conn, error) {
	f, err := d.File()
	if err != nil {
		return nil, err
	}
	defer f.Close() // net.FileConn duplicates once more
	return net.FileConn(f)
}
