//go:build unix

package sock

import (
	"net"
	"os"

	"github.com/pollux-io/pollux/internal/sys"
)

// File returns a duplicate as an *os.File, which Go's own poller watches. It may be handed
// to another program (os/exec, ExtraFiles).
//
// Whether calls wait is a property of what is open, and so of all its duplicates: to hand
// one to a child, or to call Fd, may make it blocking (os.File.Fd). That does not harm this
// package's own calls, which return ErrWouldBlock all the same. Accept, and reading and
// writing pipes and foreign descriptors, make it non-blocking again where the system has no
// other way: whoever shares it must be prepared for EAGAIN.
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

// NetConn returns a duplicate as a net.Conn: TCP, connected UDP and Unix sockets. The
// duplicates share a mode: see File.
func (d *Descriptor) NetConn() (net.Conn, error) {
	f, err := d.File()
	if err != nil {
		return nil, err
	}
	defer f.Close() // net.FileConn duplicates once more
	return net.FileConn(f)
}
