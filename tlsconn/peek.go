package tlsconn

import (
	"fmt"
	"time"

	"github.com/pollux-io/pollux/internal/clienthello"
	"github.com/pollux-io/pollux/loop"
)

// A ClientHello is what a TLS client asks for in its first message.
type ClientHello struct {
	// Conn is the connection. Its bytes are still to be read, by the handler that is returned.
	Conn *loop.Conn
	// ServerName is the name of the server that the client wants to reach (SNI, RFC 6066); "" if it has sent none. It
	// is not verified in any way, and may be any bytes.
	ServerName string
	// Protocols are those of ALPN (RFC 7301), such as "h2", in the client's order.
	Protocols []string
	// Versions are the versions of TLS that the client supports, such as tls.VersionTLS13.
	Versions []uint16
	// Encrypted reports whether the client offers Encrypted Client Hello (RFC 9849): ServerName and Protocols may
	// then be those of the outer message. Clients also offer it at random.
	Encrypted bool
	// Err is nil if the client has sent a valid ClientHello. Otherwise the fields above are empty, except Conn. It wraps
	// ErrNotTLS if the first five bytes do not begin a handshake of TLS, as those of an HTTP request do not: a
	// handler of that protocol may be returned, and gets them. Other errors are a ClientHello that is malformed, or longer
	// than 16 KiB or loop.Config.MaxUnreadBytes. Server answers all of them with an alert.
	Err error
}

// Peek returns a handler that waits for a client's first message, and lets choose decide what handles the connection: by
// the server's name, for example, or not by TLS at all, but by a relay that passes on the encrypted bytes. The
// handler that choose returns gets all bytes of the connection from the first on: it is that of Server, or any other.
// If it has an Opened, that is called then. nil closes the connection, with the reason ErrRefused.
//
// choose is called on the loop, once at most, and must not block. A client that sends no complete message within
// Options.HandshakeTimeout is closed (loop.ErrTimeout), and one that ends its side before that (io.EOF). choose is not
// called then.
func Peek(choose func(ClientHello) loop.Handler) loop.Handler {
	return Options{}.Peek(choose)
}

// Peek is the function Peek with options.
func (o Options) Peek(choose func(ClientHello) loop.Handler) loop.Handler {
	return &peek{choose: choose, timeout: o.timeout()}
}

// peek is the handler of a connection until its ClientHello is complete.
type peek struct {
	choose  func(ClientHello) loop.Handler
	parser  clienthello.Parser
	timeout time.Duration
}

var (
	_ loop.OpenedHandler   = (*peek)(nil)
	_ loop.ShutdownHandler = (*peek)(nil)
)

// Opened begins the time that the client has.
func (p *peek) Opened(c *loop.Conn) { c.SetReadDeadline(time.Now().Add(p.timeout)) }

// Shutdown closes the connection: nothing has begun.
func (p *peek) Shutdown(c *loop.Conn) { c.Close() }

// Data leaves all bytes for the handler that choose returns.
func (p *peek) Data(c *loop.Conn, b []byte) (int, error) {
	most := c.Loop().Group().Config().MaxUnreadBytes
	hello, _, err := p.parser.Parse(b)
	if hello == nil && err == nil {
		if len(b) < most {
			return 0, nil
		}
		err = fmt.Errorf("the ClientHello is longer than MaxUnreadBytes, %d", most)
	}
	seen := ClientHello{Conn: c, Err: err}
	if hello != nil {
		seen.ServerName, seen.Protocols, seen.Versions, seen.Encrypted = hello.ServerName, hello.Protocols, hello.Versions, hello.Encrypted
	}
	if p.choose == nil {
		return 0, fmt.Errorf("%w: the function given to tlsconn.Peek is nil", loop.ErrBadArgument)
	}
	h := p.choose(seen)
	if h == nil {
		return 0, ErrRefused
	}
	c.SetReadDeadline(time.Time{})
	if err := c.SetHandler(h); err != nil {
		return 0, err
	}
	if o, ok := h.(loop.OpenedHandler); ok {
		o.Opened(c)
	}
	return 0, nil
}
