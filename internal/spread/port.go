package spread

import (
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// A port is that of a bound socket, which other sockets with SO_REUSEPORT may share or not.
type port struct {
	socket pollux.Source
	shared bool // before share: the caller's options have sock.ReusePort
}

func portOf(socket pollux.Source) port {
	p := port{socket: socket}
	configure(socket, func(fd sys.FD) (e syscall.Errno) {
		p.shared, e = sys.ReusePort(fd)
		return e
	})
	return p
}

// share lets other sockets share the port.
func (p port) share() error { return p.set(true) }

// restore undoes share.
func (p port) restore() error { return p.set(p.shared) }

func (p port) set(shared bool) error {
	return configure(p.socket, func(fd sys.FD) syscall.Errno { return sys.SetReusePort(fd, shared) })
}

// configure calls set, which sets a socket option.
func configure(socket pollux.Source, set func(sys.FD) syscall.Errno) error {
	return handle.Of(socket).With("configure", func(fd sys.FD) error {
		if e := set(fd); e != 0 {
			return sys.CallError("setsockopt", e)
		}
		return nil
	})
}
