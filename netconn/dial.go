package netconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
	"github.com/pollux-io/pollux/tlsconn"
)

// A Dialer makes connections. Its fields must not change while it dials. DialContext has the signature that http.Transport
// and other clients take.
type Dialer struct {
	// Group has the loops of the connections. It must be set.
	Group *loop.Group
	// Resolver resolves names; its group may be another one. By default each call of DialContext that has a name
	// makes a resolver of the system's configuration, and closes it: without a cache, and a few files are read each time.
	Resolver *dns.Resolver
	// Timeout limits DialContext, in addition to its context. Zero: no limit, but that of the system, which is a
	// minute or more.
	Timeout time.Duration
	// TLSConfig, if it is not nil, makes DialContext return a *TLSConn, whose handshake is done: as tlsconn.Dial, which sets the
	// ServerName to the host of the address if it has none. Timeout includes the handshake, which takes
	// tlsconn.DefaultHandshakeTimeout at most.
	TLSConfig *tls.Config
	// Options are those of package sock for sockets that connect, such as sock.LocalAddr and sock.KeepAlive.
	Options []sock.Option
}

// Dial connects to address on a loop of the group, as Dialer.DialContext does.
func Dial(g *loop.Group, network, address string) (net.Conn, error) {
	return (&Dialer{Group: g}).Dial(network, address)
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects to address: of network "tcp", "tcp4" or "tcp6", a host and a port, as for net.Dial, or
// "unix", a path. A host that is a name is resolved by package dns, and its addresses are tried as dns.Dialer
// does (Happy Eyeballs). It returns a *Conn, or a *TLSConn if TLSConfig is set, or a *net.OpError when ctx ends or the connection
// fails (ECONNREFUSED, ETIMEDOUT; see loop.Group.Dial), the name cannot be resolved, or the handshake fails: then it wraps
// the error of crypto/tls, or tlsconn.ErrHandshakeTimeout. An open connection does not
// depend on ctx any more. In a callback of the group it returns loop.ErrOnLoop.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Group == nil {
		return nil, dialError(network, errNoGroup())
	}
	if strings.HasPrefix(network, "udp") {
		return nil, dialError(network, fmt.Errorf("%w: the network must be tcp, tcp4, tcp6 or unix; ListenPacket makes UDP sockets", loop.ErrBadArgument))
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	dial := dialFunc(d.Group.Dial)
	if network != "unix" {
		if _, err := loop.Resolve(network, address); err != nil {
			dial = d.dialName
		}
	}
	raw, err := d.dialWith(ctx, dial, network, address)
	if err != nil {
		return nil, withOp("dial", network, err)
	}
	return connOf(raw).asNet(d.TLSConfig != nil), nil
}

// dialFunc is a tlsconn.Dialer.
type dialFunc func(ctx context.Context, network, address string, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error)

var _ tlsconn.Dialer = dialFunc(nil)

// Dial implements tlsconn.Dialer.
func (f dialFunc) Dial(ctx context.Context, network, address string, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error) {
	return f(ctx, network, address, accept, options...)
}

// dialWith dials by dial, with TLS or without it.
func (d *Dialer) dialWith(ctx context.Context, dial dialFunc, network, address string) (*loop.Conn, error) {
	if d.TLSConfig != nil {
		return tlsconn.Dial(ctx, dial, network, address, d.TLSConfig, accept, d.Options...)
	}
	return dial(ctx, network, address, accept, d.Options...)
}

// accept returns the handler of a connection that was dialed.
func accept(raw *loop.Conn) loop.Handler { return newConn(raw, nil) }

// dialName dials a host that is not an address.
func (d *Dialer) dialName(ctx context.Context, network, address string, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error) {
	r := d.Resolver
	if r == nil {
		if d.Group.OnLoop() {
			return nil, dialError(network, loop.ErrOnLoop) // before files are read
		}
		var err error
		if r, err = dns.New(dns.Config{Group: d.Group}); err != nil {
			return nil, dialError(network, err)
		}
		defer r.Close()
	}
	names := dns.Dialer{Resolver: r, Group: d.Group}
	return names.Dial(ctx, network, address, accept, options...)
}

func dialError(network string, err error) error {
	return &net.OpError{Op: "dial", Net: network, Err: err}
}

func errNoGroup() error {
	return fmt.Errorf("%w: the group is nil", loop.ErrBadArgument)
}
