package tlsconn

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pollux-io/pollux/internal/clienthello"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/loop"
)

var (
	// ErrTruncated is the reason of a connection whose peer has ended it without close_notify, the alert that ends a
	// TLS stream: bytes may be missing (RFC 8446, section 6.1). It wraps io.ErrUnexpectedEOF.
	ErrTruncated = tlsengine.ErrTruncated
	// ErrHandshakeTimeout is the reason of a connection whose handshake took longer than Options.HandshakeTimeout. The
	// error is a net.Error that is a timeout, and an os.ErrDeadlineExceeded.
	ErrHandshakeTimeout = tlsengine.ErrHandshakeTimeout
	// ErrHandshakeEvicted is the reason of a connection whose peer was silent during its handshake while others were
	// queued.
	ErrHandshakeEvicted = tlsengine.ErrHandshakeEvicted
	// ErrTooManyHandshakes is the reason of a connection whose handshake could not even be queued.
	ErrTooManyHandshakes = tlsengine.ErrTooManyHandshakes

	// ErrNotTLS is ClientHello.Err for bytes that do not begin as TLS does.
	ErrNotTLS = clienthello.ErrNotTLS
	// ErrRefused is the reason of a connection for which the function given to Peek has returned no handler.
	ErrRefused = errors.New("no handler for this ClientHello")
)

var (
	errNoConfig     = fmt.Errorf("%w: the tls.Config is nil", loop.ErrBadArgument)
	errNoServerName = fmt.Errorf("%w: a TLS client needs tls.Config.ServerName, the name to verify; set it; tlsconn.Dial takes it from an address with a host and a port", loop.ErrBadArgument)

	errNoHello   = fmt.Errorf("the peer closed before it sent anything: %w", io.EOF)
	errReleased  = errors.New("the connection was closed during its handshake")
	errLayerData = errors.New("tlsconn: Data called on a handler that has a layer")
)

// timeoutError is ErrHandshakeTimeout with the time that the handshake had.
type timeoutError struct{ limit time.Duration }

func (e timeoutError) Error() string {
	return fmt.Sprintf("not complete after %v (Options.HandshakeTimeout)", e.limit)
}

func (timeoutError) Timeout() bool   { return true } // for net.OpError, which does not look at what is wrapped
func (timeoutError) Temporary() bool { return false }
func (timeoutError) Unwrap() error   { return ErrHandshakeTimeout }
