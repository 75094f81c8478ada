package parkhttp

import (
	"crypto/tls"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/netconn"
)

// A TLSConn is a Conn above TLS. Parking keeps what the handshake has negotiated.
type TLSConn struct {
	*Conn
	hidden
	below *netconn.TLSConn
}

var _ net.Conn = (*TLSConn)(nil)

// hidden hides a method of the netconn.Conn inside of Conn, as netconn.TLSConn does: it has one at the same depth.
type hidden struct{ noSyscallConn }

type noSyscallConn struct{}

var _ = TLSConn{}.hidden.SyscallConn // the only use

func (noSyscallConn) SyscallConn() (syscall.RawConn, error) {
	panic("parkhttp: noSyscallConn.SyscallConn called, which no selector denotes")
}

// ConnectionState is that of netconn.TLSConn, from which net/http sets Request.TLS.
func (c *TLSConn) ConnectionState() tls.ConnectionState { return c.below.ConnectionState() }
