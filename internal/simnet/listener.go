package simnet

import (
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// A Listener accepts connections, for goroutines.
type Listener struct{ end }

var _ net.Listener = (*Listener)(nil)

// Listen listens on an address, as net.Listen does: network is "tcp", "tcp4", "tcp6" or "unix". The
// host is a literal IP address, or empty.
func (h *Host) Listen(network, address string) (*Listener, error) {
	l := &Listener{}
	s, fd, err := h.open("listen", network, address)
	if err != nil {
		return nil, err
	}
	if e := s.Listen(sys.MaxBacklog); e != 0 {
		s.Close(fd)
		return nil, &net.OpError{Op: "listen", Net: network, Addr: s.netAddr(network, s.local), Err: sys.CallError("listen", e)}
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	l.initLocked(s, fd, network)
	return l, nil
}

// Accept implements net.Listener. The result is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	c := &Conn{}
	err := l.call("accept", &l.reads, func() syscall.Errno {
		s, fd, e := l.s.acceptLocked()
		if e == 0 {
			c.initLocked(s, fd, l.network)
		}
		return e
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.LocalAddr() }
