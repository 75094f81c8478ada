package netconn

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// A TLSConn is a Conn above TLS, by package tlsconn: what a Listener with ListenConfig.TLSConfig and a Dialer with TLSConfig
// return. All methods are those of Conn, for the decrypted stream. These are the differences:
//
//   - The handshake is done before Accept or DialContext returns the connection. No Read or Write makes it.
//   - The end of the stream is the peer's close_notify. If the connection ends without it, the error of Read, after all that
//     was received before, is tlsconn.ErrTruncated, which wraps io.ErrUnexpectedEOF.
//   - CloseWrite and Close send close_notify in front of FIN. After CloseWrite, Read goes on, but many peers that speak TLS 1.2
//     and before end both directions (RFC 5246, section 7.2.1).
//   - An alert of the peer, and a record that cannot be decrypted, end both directions, with the error of crypto/tls.
//   - Write returns when the bytes are queued; the loop encrypts them.
//   - It has no SyscallConn, as *tls.Conn has none: the descriptor has ciphertext, so clients that look at it would be misled. That
//     of the field Conn is for options: its Control. Read of that RawConn returns errors.ErrUnsupported.
//
// Unlike that of a *tls.Conn, the stream survives deadlines: a Write after one that has ended at its deadline continues where
// that has ended. A connection that waits in Read has no record buffer.
//
// net/http finds ConnectionState: a server on such a Listener, by Serve, sets Request.TLS, for HTTP/1.1. HTTP/2 of net/http needs a
// *tls.Conn: use Server.ServeTLS on a Listener without TLSConfig.
type TLSConn struct {
	*Conn
	noSyscallConn
}

var _ net.Conn = (*TLSConn)(nil)

// noSyscallConn hides the method of the Conn beside it: at the same depth, neither is in the method set.
type noSyscallConn struct{}

var _ = TLSConn{}.noSyscallConn.SyscallConn // the only use

func (noSyscallConn) SyscallConn() (syscall.RawConn, error) {
	panic("netconn: noSyscallConn.SyscallConn called, which no selector denotes")
}

// ConnectionState returns what the handshake has negotiated: version, cipher suite, protocol, the peer's certificates. It
// may be called at any time, also after Close.
func (c *TLSConn) ConnectionState() tls.ConnectionState {
	state, _ := tlsconn.ConnectionState(c.raw)
	return state
}

// asNet returns the connection as the type that the functions of this package return.
func (c *Conn) asNet(isTLS bool) net.Conn {
	if isTLS {
		return &TLSConn{Conn: c}
	}
	return c
}

func errNoCertificate() error {
	return fmt.Errorf("%w: TLSConfig has no certificate; set Certificates, GetCertificate or GetConfigForClient", loop.ErrBadArgument)
}
