package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/pollux-io/pollux/loop"
)

// A call is one connection, its request and its answer. It is the connection's handler; once it
// is no longer its transfer's call, it does nothing more.
type call struct {
	t       *transfer
	req     *http.Request
	request []byte
	cancel  context.CancelFunc // of the dial
	peer    net.Addr           // of a TLS handshake; nil before it begins, and without TLS
	conn    *loop.Conn         // nil until it is open
	scanned int                // the head does not end before this
	skipped int                // number of answers of class 1xx
}

var _ interface {
	loop.Handler
	loop.OpenedHandler
	loop.ReadClosedHandler
	loop.ClosedHandler
} = (*call)(nil)

// dial begins to look up the host and to connect, with a TLS handshake for https.
func (k *call) dial() error {
	e, u := k.t.e, k.t.url
	p, err := port(u)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if limit := e.cfg.Connect; limit > 0 {
		ctx, k.cancel = context.WithTimeout(ctx, limit)
	} else {
		ctx, k.cancel = context.WithCancel(ctx)
	}
	address := net.JoinHostPort(u.Hostname(), strconv.Itoa(int(p)))
	return e.dialer.DialFunc(ctx, e.loop, "tcp", address, k.accept, k.dialed)
}

func (k *call) current() bool { return k.t.call == k }

func (k *call) accept(c *loop.Conn) loop.Handler {
	if !k.current() {
		return nil // the transfer has given up
	}
	if u := k.t.url; isTLS(u) {
		k.peer = c.RemoteAddr()
		return k.t.e.client.handler(u.Hostname(), k)
	}
	return k
}

// Opened implements loop.OpenedHandler.
func (k *call) Opened(c *loop.Conn) {
	k.conn = c
	c.SetIdleTimeout(k.t.e.cfg.Idle)
	c.Write(k.request) // Closed gets the error
	k.request = nil
}

// dialed is called when the connection is open, or none can be opened.
func (k *call) dialed(_ *loop.Conn, err error) {
	k.cancel()
	if err == nil || !k.current() {
		return
	}
	k.t.call = nil
	if k.peer != nil {
		k.t.fail(handshakeFailure(k.t.url, k.peer, err))
		return
	}
	k.t.fail(dialFailure(k.t.url, err))
}

// Data implements loop.Handler. It leaves an incomplete head.
func (k *call) Data(_ *loop.Conn, b []byte) (consumed int, err error) {
	for k.current() && k.t.body == nil {
		n := k.readHead(b[consumed:])
		if n == 0 {
			return consumed, nil
		}
		consumed += n
	}
	if k.current() && consumed < len(b) {
		if k.t.e.cfg.Received != nil {
			k.t.e.cfg.Received(len(b) - consumed)
		}
		k.t.body.put(b[consumed:])
	}
	return len(b), nil
}

// readHead parses the head at the start of b, and returns its length: 0 if it is not complete, or wrong.
// It skips those of class 1xx.
func (k *call) readHead(b []byte) int {
	t := k.t
	b = b[:min(len(b), maxHeadBytes)]
	if !couldBeHTTP(b) {
		t.fail(answerFailure(t.url, "read the answer of", errNotHTTP))
		return 0
	}
	end, whole := headEnd(b, k.scanned)
	if !whole {
		k.scanned = max(len(b)-2, 0)
		if len(b) == maxHeadBytes {
			t.fail(answerFailure(t.url, "read the answer of", errHead))
		}
		return 0
	}
	k.scanned = 0
	body := newPipe(k.conn)
	resp, err := readHead(b[:end], body, k.req)
	switch {
	case err != nil:
		t.fail(answerFailure(t.url, "read the answer of", err))
	case 100 <= resp.StatusCode && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols:
		if k.skipped++; k.skipped > maxInformational {
			err := fmt.Errorf("%w: more than %d answers of class 1xx", errAnswer, maxInformational)
			t.fail(answerFailure(t.url, "read the answer of", err))
		}
	default:
		t.answered(resp, b[:end], body)
	}
	return end
}

// ReadClosed implements loop.ReadClosedHandler.
func (k *call) ReadClosed(c *loop.Conn) {
	c.Close()
	k.ended(io.EOF)
}

// Closed implements loop.ClosedHandler. A server may answer and close before it has read the
// whole request: the answer has been delivered before.
func (k *call) Closed(_ *loop.Conn, why error) { k.ended(why) }

// ended is called when the server has closed the connection, or it has failed.
func (k *call) ended(why error) {
	t := k.t
	if !k.current() || k.conn == nil { // if it has not opened, dialed gets the error
		return
	}
	t.call = nil
	if errors.Is(why, loop.ErrTimeout) {
		why = answerFailure(t.url, "wait for", errSilent)
	}
	switch {
	case t.body != nil:
		t.body.end(why)
	case isError(why):
		t.fail(why)
	case errors.Is(why, io.EOF):
		t.fail(answerFailure(t.url, "read the answer of", io.ErrUnexpectedEOF))
	default:
		t.fail(answerFailure(t.url, "read the answer of", why))
	}
}

// close ends the call after a complete answer: the server gets FIN, not a reset, and has the
// time linger to close its side.
func (k *call) close() {
	if k.conn != nil {
		k.conn.Close()
	}
}

// abort ends the call immediately.
func (k *call) abort() {
	k.cancel()
	if k.conn != nil {
		k.conn.Abort()
	}
}
