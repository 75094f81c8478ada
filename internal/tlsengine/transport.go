package tlsengine

import (
	"net"
	"time"
)

// transport is a Conn as crypto/tls sees it. In the handshake Read waits; afterwards it returns the rest of the
// record in Receive, and then errWouldBlock. Write never fails: for crypto/tls every error of Write is permanent.
type transport Conn

var _ net.Conn = (*transport)(nil)

func (t *transport) Read(p []byte) (int, error) {
	if t.handshake != nil {
		return t.handshake.read(p)
	}
	if len(t.current) == 0 {
		return 0, errWouldBlock
	}
	n := copy(p, t.current)
	t.current = t.current[n:]
	return n, nil
}

func (t *transport) Write(p []byte) (int, error) {
	if t.handshake != nil {
		return t.handshake.write(p)
	}
	t.out = append(t.out, p...)
	return len(p), nil
}

// Close is called by crypto/tls when the context of the handshake is canceled: by abort, which has ended it.
func (t *transport) Close() error { return nil }

func (t *transport) LocalAddr() net.Addr {
	if t.addresses == nil {
		return noAddr{}
	}
	return orNoAddr(t.addresses.LocalAddr())
}

func (t *transport) RemoteAddr() net.Addr {
	if t.addresses == nil {
		return noAddr{}
	}
	return orNoAddr(t.addresses.RemoteAddr())
}

// orNoAddr returns a, which is nil once the socket is closed: callbacks do not expect that.
func orNoAddr(a net.Addr) net.Addr {
	if a == nil {
		return noAddr{}
	}
	return a
}

// Deadlines are set by crypto/tls around close_notify, where nothing waits.
func (t *transport) SetDeadline(time.Time) error      { return nil }
func (t *transport) SetReadDeadline(time.Time) error  { return nil }
func (t *transport) SetWriteDeadline(time.Time) error { return nil }

// noAddr is an address that is not known.
type noAddr struct{}

func (noAddr) Network() string { return "tls" }
func (noAddr) String() string  { return "unknown" }
