package tlsengine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

var (
	// ErrTruncated is returned if the peer ends its bytes without close_notify: what has arrived may be less than the
	// peer has sent (RFC 8446, section 6.1). It wraps io.ErrUnexpectedEOF.
	ErrTruncated = fmt.Errorf("the TLS connection ended without close_notify: %w", io.ErrUnexpectedEOF)

	// ErrHandshakeTimeout is the end of a handshake that takes longer than Options.Timeout. It is a net.Error that is a
	// timeout, and an os.ErrDeadlineExceeded.
	ErrHandshakeTimeout error = timeoutError{}

	// ErrHandshakeEvicted is the end of a handshake whose peer is silent while others wait for its place in the Pool.
	ErrHandshakeEvicted = errors.New("TLS handshake ended in favor of others: its peer is silent")

	// ErrTooManyHandshakes is returned by Start if the Pool's queue is full.
	ErrTooManyHandshakes = errors.New("too many TLS handshakes in progress")

	// ErrWriteClosed is returned by Send after CloseNotify.
	ErrWriteClosed = errors.New("TLS: send after close_notify")

	errRenegotiation = errors.New("tls.Config.Renegotiation is not supported: set it to tls.RenegotiateNever")
	errNoConfig      = errors.New("a tls.Config is needed, not nil")
	errNoNotify      = errors.New("Options.Notify is needed, not nil")
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "the TLS handshake was not complete in time" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return false }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// wouldBlock is what crypto/tls gets from the transport after the record that it was given. crypto/tls keeps its
// state and continues with the next Read, because the error is temporary.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no further record" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// errWouldBlock is compared by identity: crypto/tls returns a temporary error as it is.
var errWouldBlock error = wouldBlock{}

// A PanicError is the end of a Conn if a callback of the tls.Config panics, or ends its goroutine (runtime.Goexit: Value is
// then nil).
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "a callback of tls.Config ends its goroutine"
	}
	return fmt.Sprintf("panic in a callback of tls.Config: %v", e.Value)
}

// maxStackBytes is how much of a stack a PanicError keeps: the innermost frames.
const maxStackBytes = 16 << 10

func newPanicError(v any) *PanicError {
	stack := debug.Stack()
	return &PanicError{Value: v, Stack: stack[:min(len(stack), maxStackBytes)]}
}

// unexpectedMessage is a fatal alert in plaintext: RFC 8446, sections 5.1 and 6.2.
var unexpectedMessage = []byte{21, 3, 1, 0, 2, 2, 10}

// alertFor returns the alert that crypto/tls leaves to its caller: it sends none if the first bytes are not TLS, so
// that a server may answer in another protocol. It removes the transport from err.
func alertFor(err error) ([]byte, error) {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || header.Conn == nil {
		return nil, err
	}
	header.Conn = nil
	return unexpectedMessage, header
}
