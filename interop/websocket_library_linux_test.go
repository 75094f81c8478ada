package interop

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/pollux-io/pollux/internal/testkit"
)

// A wsConn is a WebSocket of either library.
type wsConn interface {
	// receive returns the next message. The error after a close frame is a closeError.
	receive() (text bool, message []byte, err error)
	// send sends a message in as many fragments as there are parts.
	send(text bool, parts ...[]byte) error
	// close sends a close frame, waits for that of the peer, and closes the connection.
	close(code int, reason string) error
	// ping returns when the peer has answered a ping. A goroutine must be in receive.
	ping() error
	// abort closes the connection, if it is still open.
	abort() error
}

// A closeError is a close frame of the peer.
type closeError struct {
	code   int
	reason string
}

func (e closeError) Error() string { return e.reason }

// A wsLibrary makes WebSockets from both ends.
type wsLibrary struct {
	name   string
	accept func(w http.ResponseWriter, r *http.Request) (wsConn, error)
	dial   func(ctx context.Context, s side, url string, c *tls.Config) (wsConn, error)
}

var wsLibraries = []wsLibrary{{"gorilla", acceptGorilla, dialGorilla}, {"coder", acceptCoder, dialCoder}}

type gorillaConn struct {
	*gorilla.Conn
	pongs chan struct{}
}

func newGorilla(c *gorilla.Conn) wsConn {
	g := gorillaConn{c, make(chan struct{}, 1)}
	c.SetReadLimit(readLimitBytes)
	c.SetPongHandler(func(string) error { g.pongs <- struct{}{}; return nil })
	return g
}

func acceptGorilla(w http.ResponseWriter, r *http.Request) (wsConn, error) {
	c, err := (&gorilla.Upgrader{EnableCompression: true}).Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	return newGorilla(c), nil
}

func dialGorilla(ctx context.Context, s side, url string, config *tls.Config) (wsConn, error) {
	d := newWebSocketDialer(s)
	d.TLSClientConfig = config
	c, _, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	return newGorilla(c), nil
}

func (g gorillaConn) abort() error { return g.Conn.Close() }

func (g gorillaConn) receive() (bool, []byte, error) {
	kind, b, err := g.ReadMessage()
	if e := (*gorilla.CloseError)(nil); errors.As(err, &e) {
		err = closeError{e.Code, e.Text}
	}
	return kind == gorilla.TextMessage, b, err
}

func (g gorillaConn) send(text bool, parts ...[]byte) error {
	kind := gorilla.BinaryMessage
	if text {
		kind = gorilla.TextMessage
	}
	w, err := g.NextWriter(kind) // a fragment for each buffer of 4 KiB
	if err != nil {
		return err
	}
	return writeMessage(w, parts)
}

func (g gorillaConn) close(code int, reason string) error {
	defer g.Conn.Close()
	if err := g.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(code, reason), time.Now().Add(testkit.Watchdog)); err != nil {
		return err
	}
	for {
		if _, _, err := g.receive(); err != nil {
			if _, ok := errors.AsType[closeError](err); ok {
				return nil
			}
			return err
		}
	}
}

func (g gorillaConn) ping() error {
	if err := g.WriteControl(gorilla.PingMessage, []byte("ping"), time.Now().Add(testkit.Watchdog)); err != nil {
		return err
	}
	<-g.pongs
	return nil
}

type coderConn struct {
	*websocket.Conn
	ctx context.Context
}

func acceptCoder(w http.ResponseWriter, r *http.Request) (wsConn, error) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(readLimitBytes)
	return coderConn{c, context.Background()}, nil
}

func dialCoder(ctx context.Context, s side, url string, config *tls.Config) (wsConn, error) {
	options := webSocketOptions(s)
	options.CompressionMode = websocket.CompressionContextTakeover
	options.HTTPClient.Transport.(*http.Transport).TLSClientConfig = config
	c, _, err := websocket.Dial(ctx, url, options)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(readLimitBytes)
	return coderConn{c, ctx}, nil
}

func (c coderConn) abort() error { return c.CloseNow() }

func (c coderConn) receive() (bool, []byte, error) {
	kind, b, err := c.Read(c.ctx)
	if e, ok := errors.AsType[websocket.CloseError](err); ok {
		err = closeError{int(e.Code), e.Reason}
	}
	return kind == websocket.MessageText, b, err
}

func (c coderConn) send(text bool, parts ...[]byte) error {
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	w, err := c.Writer(c.ctx, kind) // a fragment for each Write
	if err != nil {
		return err
	}
	return writeMessage(w, parts)
}

// writeMessage writes the parts of a message, and ends it.
func writeMessage(w io.WriteCloser, parts [][]byte) error {
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c coderConn) close(code int, reason string) error {
	return c.Close(websocket.StatusCode(code), reason)
}

func (c coderConn) ping() error { return c.Ping(c.ctx) }
