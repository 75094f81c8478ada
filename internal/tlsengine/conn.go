package tlsengine

import (
	"crypto/tls"
	"net"
	"time"
)

const (
	// DefaultTimeout is the Timeout of Options by default.
	DefaultTimeout = 10 * time.Second

	// MaxHandshakeUnread is how many bytes a handshake holds that crypto/tls has not read yet, before Feed reports
	// that it is full. What the peer sends in one flight is mostly less.
	MaxHandshakeUnread = 16 << 10
)

// Addresses are those that callbacks of a tls.Config see in ClientHelloInfo.Conn.
type Addresses interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// Options are for New.
type Options struct {
	// Config must have Renegotiation set to RenegotiateNever, its zero value. It must not be changed afterwards.
	// Its callbacks run on the handshake's goroutine while a worker of the Pool is reserved: they may block for a
	// short time, and must return when ClientHelloInfo.Context ends.
	Config *tls.Config
	// Client is set for the side that begins the handshake.
	Client bool
	// Timeout ends a handshake that takes longer; the time in the Pool's queue is included. 0: DefaultTimeout.
	Timeout time.Duration
	// Pool bounds handshakes. nil: this one is not bounded.
	Pool *Pool
	// Addresses may be nil.
	Addresses Addresses
	// Notify is called during the handshake, by any goroutine, when Step has something to return, and not again
	// before the next call of Step. It must not block and must not call the Conn.
	Notify func()

	// mode is 0 for the one that CurrentMode returns; the self-check and tests choose one.
	mode Mode
}

// A Conn is one side of a TLS connection, without its transport.
//
// Its methods are called by one goroutine at a time, ConnectionState excepted. Start, Feed, FeedEnd, Step and Abort are
// for the handshake; the others, except Mode and ConnectionState, for the time after Step has returned Done without an
// error.
type Conn struct {
	tls       *tls.Conn
	addresses Addresses
	// handshake is nil after a handshake that was successful. After one that failed it stays, as its goroutine may
	// still be in a callback of the Config.
	handshake *handshake

	// current is nil outside of Receive. There it is what crypto/tls has not read of the record, if the mode is Copying, and
	// the plaintext that crypto/tls has written to sink, if it is InPlace.
	current []byte
	out     []byte // ciphertext that the caller has not taken
	err     error  // why nothing can be received any more; io.EOF after close_notify

	maxPayload  uint16 // of a record
	wireVersion uint16 // in the headers of records
	mode        Mode
	failed      bool // err is fatal for both directions
	closed      bool // close_notify was sent
	one         [1]byte
}

// New returns a Conn whose handshake has not begun. Errors are those of the Options.
func New(o Options) (*Conn, error) {
	switch {
	case o.Config == nil:
		return nil, errNoConfig
	case o.Config.Renegotiation != tls.RenegotiateNever:
		return nil, errRenegotiation
	case o.Notify == nil:
		return nil, errNoNotify
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	c := &Conn{addresses: o.Addresses, mode: o.mode}
	c.handshake = newHandshake(c, &o)
	if o.Client {
		c.tls = tls.Client((*transport)(c), o.Config)
	} else {
		c.tls = tls.Server((*transport)(c), o.Config)
	}
	return c, nil
}

// ConnectionState returns what the handshake has negotiated. Any goroutine may call it after the handshake.
func (c *Conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// Mode returns the mode of this Conn, after its handshake.
func (c *Conn) Mode() Mode { return c.mode }
