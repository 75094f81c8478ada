package netconn

import (
	"crypto/tls"
	"net"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
	"github.com/pollux-io/pollux/tlsconn"
)

// A ListenConfig makes listeners, as the functions Listen, Serve and ServeUnix do, and in addition with TLS. Its fields must
// not change while its listeners are open.
type ListenConfig struct {
	// Group has the loops of the connections. It must be set.
	Group *loop.Group
	// TLSConfig, if it is not nil, makes Accept return *TLSConns, whose handshake is done. It must have a certificate, or a
	// function that returns one, as for tls.Listen, and is otherwise as for tlsconn.Server. For net/http its NextProtos
	// must not have "h2": see TLSConn.
	TLSConfig *tls.Config
	// TLSOptions are for the handshakes: their time limit, and a function that is called when one has failed, which
	// nothing else reports but the counters of tlsconn.StatsOf and a record of level Debug in the log.
	TLSOptions tlsconn.Options
	// Options are those of package sock for listening sockets.
	Options []sock.Option
}

// Listen listens at address, of network "tcp", "tcp4", "tcp6" or "unix", as the function Listen does.
func (lc *ListenConfig) Listen(network, address string) (net.Listener, error) {
	return lc.start(network, func(accept acceptFunc) (*loop.Listener, error) {
		return lc.Group.Listen(network, address, accept, lc.Options...)
	})
}

// Serve is the function Serve.
func (lc *ListenConfig) Serve(s *sock.TCPListener) (net.Listener, error) {
	ln, err := lc.start("tcp", func(accept acceptFunc) (*loop.Listener, error) {
		return lc.Group.Serve(s, accept, lc.Options...)
	})
	if err != nil && s != nil {
		s.Close() // start may have failed before the group has got it
	}
	return ln, err
}

// ServeUnix is the function ServeUnix.
func (lc *ListenConfig) ServeUnix(s *sock.UnixListener) (net.Listener, error) {
	ln, err := lc.start("unix", func(accept acceptFunc) (*loop.Listener, error) {
		return lc.Group.ServeUnix(s, accept, lc.Options...)
	})
	if err != nil && s != nil {
		s.Close()
	}
	return ln, err
}

// acceptFunc returns the handler of a connection.
type acceptFunc = func(*loop.Conn) loop.Handler

// start returns the Listener of the loop.Listener that listen makes.
func (lc *ListenConfig) start(network string, listen func(acceptFunc) (*loop.Listener, error)) (net.Listener, error) {
	if err := lc.check(); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	l := &Listener{g: lc.Group, network: network, done: make(chan struct{}), tls: lc.TLSConfig != nil}
	l.a.cond.L = &l.mu
	accept := func(c *loop.Conn) loop.Handler { return newConn(c, l) }
	if config, options := lc.TLSConfig, lc.TLSOptions; config != nil {
		accept = func(c *loop.Conn) loop.Handler { return options.Server(config, newConn(c, l)) }
	}
	raw, err := listen(accept)
	if err != nil {
		return nil, withOp("listen", network, err)
	}
	l.mu.Lock()
	l.raw, l.addr = raw, raw.Addr()
	l.pauseIfFullLocked()
	l.mu.Unlock()
	go l.watchGroup()
	return l, nil
}

// check returns an error for fields with which no connection can be accepted.
func (lc *ListenConfig) check() error {
	switch t := lc.TLSConfig; {
	case lc.Group == nil:
		return errNoGroup()
	case t != nil && len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil:
		return errNoCertificate()
	}
	return nil
}
