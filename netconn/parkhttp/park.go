package parkhttp

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/pollux-io/pollux/netconn"
)

// ErrUnsupported is wrapped by the errors of Park and Check if net/http does not behave as parking needs it.
var ErrUnsupported = errors.New("parkhttp: this net/http does not behave as parking needs it")

// Park returns a listener for server.Serve whose idle connections are parked. ln must be a *netconn.Listener, of
// netconn.Listen or a netconn.ListenConfig, and must not be used otherwise. Park sets server.ConnState to a function that calls the one which was set
// before, so call it before Serve, once for each listener.
//
// If the error is not nil, server is as before and Park returns ln, which serves without parking. It wraps
// ErrUnsupported if Check does.
func Park(server *http.Server, ln net.Listener) (net.Listener, error) {
	idleBytes, err := checkNetHTTP()
	if err != nil {
		return ln, err
	}
	l, ok := ln.(*netconn.Listener)
	if !ok {
		return ln, fmt.Errorf("parkhttp: park: the listener is a %T; use the one that netconn.Listen returns", ln)
	}
	before := server.ConnState
	server.ConnState = func(nc net.Conn, s http.ConnState) {
		if before != nil {
			before(nc, s)
		}
		if c, ok := nc.(interface{ enter(http.ConnState) }); ok { // a *Conn or a *TLSConn
			c.enter(s)
		}
	}
	return &Listener{Listener: l, idleBytes: idleBytes}, nil
}

// Check returns nil if the net/http of this program behaves as parking needs it, and otherwise an error that wraps
// ErrUnsupported and describes the difference. The first call of Check or Park serves a few requests over connections in
// memory, which takes less than a millisecond; later calls return the same result.
func Check() error {
	_, err := checkNetHTTP()
	return err
}

// A Listener is the listener that Park returns. Its connections are *Conns, or *TLSConns if it has TLS.
type Listener struct {
	*netconn.Listener
	idleBytes int // length of a Read of net/http whose buffer is empty
}

var _ net.Listener = (*Listener)(nil)

// Accept returns the next connection that is new or has been woken. It is that of netconn.Listener otherwise.
func (l *Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := nc.(*netconn.TLSConn); ok {
		return &TLSConn{Conn: l.newConn(t.Conn), below: t}, nil
	}
	return l.newConn(nc.(*netconn.Conn)), nil
}

func (l *Listener) newConn(nc *netconn.Conn) *Conn {
	c := &Conn{Conn: nc, idleBytes: l.idleBytes}
	if c.Woken() {
		c.phase.Store(uint32(woken))
	}
	return c
}
