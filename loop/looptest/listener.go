package looptest

import (
	"net"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// A Listener accepts connections for a test, as a *net.TCPListener does. Its methods may be called from
// any goroutine.
type Listener struct{ l *simnet.Listener }

var _ net.Listener = (*Listener)(nil)

// Accept waits for a connection. The result is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn is Accept that returns a *Conn.
func (l *Listener) AcceptConn() (*Conn, error) {
	c, err := l.l.Accept()
	if err != nil {
		return nil, err
	}
	return &Conn{c.(*simnet.Conn)}, nil
}

// Close ends the listener. Connections that were not accepted are reset.
func (l *Listener) Close() error { return l.l.Close() }

// Addr returns the address of the listener.
func (l *Listener) Addr() net.Addr { return l.l.Addr() }

// SetDeadline sets the deadline of Accept, on the network's clock; the zero Time means none.
func (l *Listener) SetDeadline(t time.Time) error { return l.l.SetDeadline(t) }
