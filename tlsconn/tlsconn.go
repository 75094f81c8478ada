package tlsconn

import (
	"crypto/tls"
	"runtime/debug"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/layered"
	"github.com/pollux-io/pollux/loop"
)

// DefaultHandshakeTimeout is the HandshakeTimeout of Options by default.
const DefaultHandshakeTimeout = 10 * time.Second

// Options change what Server, Client and Peek do. The zero value has the defaults, and is what the functions of those
// names use.
type Options struct {
	// HandshakeTimeout ends a connection whose handshake takes longer, with ErrHandshakeTimeout: from the time at which
	// the socket is connected, or SetHandler was called, until the handler's Opened. For Peek it is the time until the
	// ClientHello is complete; the handshake that may follow has a time of its own. 0 or less: DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// HandshakeFailed, if it is set, is called on the loop when a handshake has failed, before the connection is closed:
	// nothing else reports it for accepted connections, whose handlers get no callback before Opened, except for a
	// record of level Debug in the log and the counters of StatsOf. A handshake that is cut off, by Abort, Shutdown or the
	// context of a dial, is not reported. c may be asked for its addresses; err is what Group.Dial would return. A panic
	// is logged, and has no other effect.
	HandshakeFailed func(c *loop.Conn, err error)
}

// Server returns a handler for the server's side of TLS: h gets the decrypted bytes, and what it writes is encrypted. It is
// for one connection, as h is: what a listener's accept function returns, or what SetHandler gets (STARTTLS). Opened of
// h is called when the handshake is done.
//
// config is what crypto/tls needs of a server; it is shared by all connections, and must not be changed. Its callbacks
// are called on other goroutines than the loop's. They may block for a short time, while they keep one of GOMAXPROCS
// places for handshakes that compute, and must return when ClientHelloInfo.Context ends. Renegotiation must be
// tls.RenegotiateNever, its zero value. If config or h is invalid, the connection is closed with an error that wraps
// loop.ErrBadArgument.
func Server(config *tls.Config, h loop.Handler) loop.Handler {
	return Options{}.Server(config, h)
}

// Client returns a handler for the client's side of TLS: what the accept function of Group.Dial returns, or what SetHandler
// gets. Dial returns when the handshake is done, or with its error. config must have a ServerName, which Dial of this
// package sets, or InsecureSkipVerify. Otherwise it is as Server.
func Client(config *tls.Config, h loop.Handler) loop.Handler {
	return Options{}.Client(config, h)
}

// Server is the function Server with options.
func (o Options) Server(config *tls.Config, h loop.Handler) loop.Handler {
	return &handler{config: config, inner: h, options: o}
}

// Client is the function Client with options.
func (o Options) Client(config *tls.Config, h loop.Handler) loop.Handler {
	return &handler{config: config, inner: h, options: o, client: true}
}

// ConnectionState returns what the handshake of c has negotiated: version, cipher suite, protocol, the peer's
// certificates. ok is false if c has no TLS, or its handshake is not done. It may be called from any goroutine, and
// after the end of the connection.
func ConnectionState(c *loop.Conn) (state tls.ConnectionState, ok bool) {
	l, isTLS := layered.Of(c).(*layer)
	if !isTLS || !l.connected.Load() {
		return tls.ConnectionState{}, false
	}
	return l.engine.Load().ConnectionState(), true
}

// handler stands for its inner handler: package loop makes a layer of it, and gives the connection the inner one.
type handler struct {
	config  *tls.Config
	inner   loop.Handler
	options Options
	client  bool
}

// Data is not called.
func (h *handler) Data(*loop.Conn, []byte) (int, error) { return 0, errLayerData }

// Inner implements what package loop asks of a handler with a layer.
func (h *handler) Inner() loop.Handler { return h.inner }

// NewLayer implements what package loop asks of a handler with a layer.
func (h *handler) NewLayer(c *loop.Conn, above driver.Above) driver.Layer {
	return newLayer(h, c, above)
}

// check returns an error for a config with which no handshake can succeed.
func (h *handler) check() error {
	switch {
	case h.config == nil:
		return errNoConfig
	case h.client && h.config.ServerName == "" && !h.config.InsecureSkipVerify:
		return errNoServerName
	}
	return nil
}

func (o *Options) timeout() time.Duration {
	if o.HandshakeTimeout <= 0 {
		return DefaultHandshakeTimeout
	}
	return o.HandshakeTimeout
}

// report calls HandshakeFailed.
func (o *Options) report(c *loop.Conn, err error) {
	if o.HandshakeFailed == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			c.Loop().Group().Config().Logger.Error("pollux: panic in tlsconn.Options.HandshakeFailed", "remote", c.RemoteAddr(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	o.HandshakeFailed(c, err)
}
