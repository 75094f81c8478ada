//go:build unix

package sock

import (
	"net"
	"os"

	"github.com/pollux-io/pollux/internal/sys"
)

// File returns a duplicate as an *os.File, which Go's own poller watches. It may be passed to another
// program (os/exec, ExtraFiles). The error is a *net.OpError with ErrClosed, EMFILE, or
// errors.ErrUnsupported on Windows.
//
// The blocking mode is a property of the open file description, which all duplicates share:
// passing one to a child, or calling Fd, may switch it to blocking (os.File.Fd). The calls
// of this package still return ErrWouldBlock. Accept, and reading and writing pipes and
// foreign descriptors, switch it back to non-blocking where the system offers nothing else:
// programs that share it must expect EAGAIN.
func (d *Descriptor) File() (*os.File, error) {
	var f *os.File
	err := d.withFD("duplicate", func(fd sys.FD) error {
		if sys.IsVirtual(fd) {
			return d.opError("duplicate", errUnsupported)
		}
		d.h().Share()
		dup, e := sys.Dup(fd)
		if e != 0 {
			return d.callError("duplicate", "fcntl", e)
		}
		f = os.NewFile(uintptr(dup), d.h().Kind().Network())
		return nil
	})
	return f, err
}

func (d *Descriptor) netConn() (net.Conn, error) {
	f, err := d.File()
	if err != nil {
		return nil, err
	}
	defer f.Close() // net.FileConn duplicates once more
	return net.FileConn(f)
}
