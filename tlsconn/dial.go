package tlsconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A Dialer connects: a *loop.Group, to IP addresses and Unix sockets, or a *dns.Dialer, to names.
type Dialer interface {
	Dial(ctx context.Context, network, address string, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error)
}

// Dial connects by d, and does a handshake as client on the connection: d.Dial with a handler of Client. If config has
// no ServerName, it is the host of the address, as in tls.Dial. A nil config is the zero one. accept returns the handler above
// TLS.
//
// The error is that of d.Dial. If the handshake fails it is a *net.OpError with Op "TLS handshake" that wraps the error of
// crypto/tls, such as a *tls.CertificateVerificationError, or ErrHandshakeTimeout; an alert of the server is a *net.OpError with
// Op "remote error".
func Dial(ctx context.Context, d Dialer, network, address string, config *tls.Config, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error) {
	return Options{}.Dial(ctx, d, network, address, config, accept, options...)
}

// Dial is the function Dial with options.
func (o Options) Dial(ctx context.Context, d Dialer, network, address string, config *tls.Config, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error) {
	switch {
	case d == nil:
		return nil, badDial(network, address, "the Dialer is nil: give a *loop.Group or a *dns.Dialer")
	case accept == nil:
		return nil, badDial(network, address, "accept is nil: give a function that returns the handler above TLS")
	}
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err == nil {
			config = config.Clone()
			config.ServerName = host
		}
	}
	return d.Dial(ctx, network, address, func(c *loop.Conn) loop.Handler {
		h := accept(c)
		if h == nil {
			return nil // refused
		}
		return o.Client(config, h)
	}, options...)
}

func badDial(network, address, problem string) error {
	return &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%w: dialing %q: %s", loop.ErrBadArgument, address, problem)}
}
