package simnet

import (
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// A Conn is one end of a connection, for goroutines.
type Conn struct{ end }

var _ net.Conn = (*Conn)(nil)

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (n int, err error) {
	err = c.call("read", &c.reads, func() (e syscall.Errno) {
		bufs, e := c.s.recvFaultsLocked([][]byte{b}, 0)
		if e == 0 {
			n, e = c.s.protocol.recvLocked(bufs, 0)
		}
		return e
	})
	if err == nil && n == 0 && len(b) > 0 && c.s.typ == sys.SOCK_STREAM {
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (n int, err error) {
	err = c.call("write", &c.writes, func() syscall.Errno {
		for {
			bufs, e := c.s.sendFaultsLocked([][]byte{b[n:]}, 0)
			if e != 0 {
				return e
			}
			k, e := c.s.protocol.sendLocked(bufs, 0)
			n += k
			if e != 0 || n == len(b) || c.s.typ != sys.SOCK_STREAM {
				return e
			}
		}
	})
	return n, err
}

// RemoteAddr returns the peer's address, also after the connection has ended.
func (c *Conn) RemoteAddr() net.Addr {
	c.s.host.n.mu.Lock()
	defer c.s.host.n.mu.Unlock()
	return c.s.netAddr(c.network, c.s.remoteLocked())
}

// CloseWrite shuts down sending: the peer gets a FIN after the bytes that were written.
func (c *Conn) CloseWrite() error {
	return c.set("close write", func() syscall.Errno { return c.s.Shutdown(sys.SHUT_WR) })
}

// CloseRead shuts down receiving.
func (c *Conn) CloseRead() error {
	return c.set("close read", func() syscall.Errno { return c.s.Shutdown(sys.SHUT_RD) })
}

// SetLinger sets SO_LINGER, as net.TCPConn.SetLinger does.
func (c *Conn) SetLinger(seconds int) error {
	return c.set("set", func() syscall.Errno { return c.s.SetLinger(seconds >= 0, max(seconds, 0)) })
}

// SetNoDelay sets TCP_NODELAY.
func (c *Conn) SetNoDelay(on bool) error {
	return c.setInt(sys.IPPROTO_TCP, sys.TCP_NODELAY, toInt(on))
}

// SetKeepAlive sets SO_KEEPALIVE.
func (c *Conn) SetKeepAlive(on bool) error {
	return c.setInt(sys.SOL_SOCKET, sys.SO_KEEPALIVE, toInt(on))
}

// SetKeepAliveConfig configures keep-alive probes, as net.TCPConn.SetKeepAliveConfig does.
func (c *Conn) SetKeepAliveConfig(k net.KeepAliveConfig) error {
	return c.use("set", func(fd sys.FD) error { return stream.SetKeepAlive(fd, k) })
}

// NetConn implements sys.VirtualSocket.
func (s *Socket) NetConn() (net.Conn, syscall.Errno) {
	fd, e := s.Dup()
	if e != 0 {
		return nil, e
	}
	s.host.n.mu.Lock()
	defer s.host.n.mu.Unlock()
	c := &Conn{}
	c.initLocked(s, fd, s.network())
	return c, 0
}

// remoteLocked returns the peer's address, also after the connection has ended.
func (s *Socket) remoteLocked() address {
	if t, ok := s.protocol.(*streamSocket); ok {
		return t.remote
	}
	a, _ := s.protocol.peerLocked()
	return a
}
