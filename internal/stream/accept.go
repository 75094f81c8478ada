package stream

import (
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// AcceptOptions is what a listener's accepted connections must have. Package sock sets it on
// those that it accepts; a driver that accepts by an operation of its own calls Apply.
type AcceptOptions struct {
	NoDelay bool // TCP_NODELAY: Nagle's algorithm is disabled
}

// Apply sets the options on a connection, or on a listener if connections inherit them from
// it. An error of a connection means that it was reset, which reading reports, too.
func (o AcceptOptions) Apply(fd sys.FD) syscall.Errno {
	if !o.NoDelay {
		return 0
	}
	return sys.SetInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
}

// Accept takes a connection off the queue of the listener h. It skips connections that were
// lost in the queue (accept(2)), at most as many as a backlog can hold.
func Accept(h *handle.Handle) (sys.FD, sys.Sockaddr, error) {
	fd, ok := h.Use()
	if !ok {
		return sys.InvalidFD, sys.Sockaddr{}, h.OpError("accept", net.ErrClosed)
	}
	defer h.Done()
	var from sys.Sockaddr
	var e syscall.Errno
	shared := h.Shared()
	for range sys.MaxBacklog {
		var conn sys.FD
		if shared {
			conn, e = sys.AcceptShared(fd, &from)
		} else {
			conn, e = sys.Accept(fd, &from)
		}
		if e == 0 {
			return conn, from, nil
		}
		if !sys.LostInBacklog(e) {
			break
		}
	}
	if sys.WouldBlock(e) {
		h.Rearm(readable)
		return sys.InvalidFD, from, ErrWouldBlock
	}
	return sys.InvalidFD, from, h.CallError("accept", "accept", e)
}

// StopListening ends listening on Linux. Other systems return ENOTCONN (shutdown(2)), and
// end listening when the descriptor is closed.
func StopListening(h *handle.Handle) error {
	return h.With("stop listening", func(fd sys.FD) error {
		if e := sys.Shutdown(fd, sys.SHUT_RDWR); e != 0 && e != syscall.ENOTCONN {
			return h.CallError("stop listening", "shutdown", e)
		}
		return nil
	})
}
