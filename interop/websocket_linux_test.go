package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/pollux-io/pollux/internal/testkit"
)

// maxMessageBytes is the largest message of the tests, and readLimitBytes what the libraries take: a compressed message may be
// larger.
const (
	maxMessageBytes = 256 << 10
	readLimitBytes  = 2 * maxMessageBytes
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
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
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

// echoWebSocket echoes messages until the peer closes, whose code and reason it sends to closed.
func echoWebSocket(t *testing.T, library wsLibrary, closed chan<- closeError) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := library.accept(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		for {
			text, message, err := c.receive()
			if err != nil {
				e, ok := errors.AsType[closeError](err)
				if !ok {
					t.Errorf("the server's receive: %v", err)
				}
				c.close(e.code, e.reason) // answers; the peer may have closed the connection
				closed <- e
				return
			}
			if err := c.send(text, message); err != nil {
				t.Errorf("the server's send: %v", err)
			}
		}
	}
}

// onWebSockets runs f with each library as client and as server, on each side.
func onWebSockets(t *testing.T, f func(t *testing.T, dial func() wsConn, closed <-chan closeError)) {
	t.Helper()
	onSides(t, func(t *testing.T, s side) {
		for i, server := range wsLibraries {
			for j, client := range wsLibraries {
				t.Run(client.name+"-"+server.name, func(t *testing.T) {
					closed := make(chan closeError, 64)
					scheme, serverTLS, clientTLS := "ws://", (*tls.Config)(nil), (*tls.Config)(nil)
					if i != j { // both schemes with each library at each end
						scheme = "wss://"
						serverTLS, clientTLS = tlsConfigs()
						serverTLS.NextProtos = []string{"http/1.1"}
					}
					ln := s.listen(t, "tcp")
					serve(t, ln, &http.Server{Handler: echoWebSocket(t, server, closed), TLSConfig: serverTLS, ReadHeaderTimeout: testkit.Watchdog})
					f(t, func() wsConn {
						c, err := client.dial(watchdog(t), s, scheme+ln.Addr().String(), clientTLS)
						if err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() { c.abort() }) // if the test has failed
						return c
					}, closed)
				})
			}
		}
	})
}

// Messages of all sizes, text and binary, whole and in fragments, compressed as the libraries agree, come back as they were
// sent. The first has as many bytes as a length field of each size can hold, and one more.
func TestWebSocketEcho(t *testing.T) {
	onWebSockets(t, func(t *testing.T, dial func() wsConn, closed <-chan closeError) {
		c := dial()
		binary := testkit.Text(maxMessageBytes)
		ascii := bytes.Map(func(r rune) rune { return 'a' + r%26 }, binary[:1<<17])
		for _, size := range []int{0, 1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 100_000, maxMessageBytes} {
			for _, text := range []bool{false, true} {
				message := binary
				if text {
					message = ascii
				}
				message = message[:min(size, len(message))]
				for _, parts := range [][][]byte{{message}, {message[:size/3%(len(message)+1)], nil, message[size/3%(len(message)+1):]}} {
					sent := make(chan error, 1) // at the same time: neither end has memory for all of it
					go func() { sent <- c.send(text, parts...) }()
					gotText, got, err := c.receive()
					if err != nil || gotText != text || !bytes.Equal(got, message) {
						t.Fatalf("%d bytes (text: %t), %v, want %d (text: %t)", len(got), gotText, err, len(message), text)
					}
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := c.close(1000, "done"); err != nil {
			t.Errorf("close: %v", err)
		}
		if e := <-closed; e != (closeError{1000, "done"}) {
			t.Errorf("the server got %+v", e)
		}
	})
}

// Codes and reasons of close frames arrive, and the close handshake ends in order.
func TestWebSocketClose(t *testing.T) {
	onWebSockets(t, func(t *testing.T, dial func() wsConn, closed <-chan closeError) {
		for _, want := range []closeError{{1000, ""}, {1001, "going away"}, {3000, "registered"}, {4999, "private, and as long as 123 bytes allow"}} {
			c := dial()
			if err := c.close(want.code, want.reason); err != nil {
				t.Errorf("close %d: %v", want.code, err)
			}
			if got := <-closed; got != want {
				t.Errorf("the server got %+v, want %+v", got, want)
			}
		}
	})
}

// Pings are answered while messages pass, on many connections at once.
func TestWebSocketMany(t *testing.T) {
	const connections, rounds = 8, 20
	onWebSockets(t, func(t *testing.T, dial func() wsConn, closed <-chan closeError) {
		done := make(chan error, connections)
		for i := range connections {
			c := dial()
			go func() { done <- exchange(c, rounds, byte(i)) }()
		}
		for range connections {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for range connections {
			if e := <-closed; e.code != 1000 {
				t.Errorf("the server got %+v", e)
			}
		}
	})
}

// exchange sends rounds messages of its own bytes, each with a ping, gets them back, and closes.
func exchange(c wsConn, rounds int, own byte) error {
	message := bytes.Repeat([]byte{own}, 10_000)
	sent := make(chan error, 1)
	go func() {
		for range rounds {
			if err := errors.Join(c.send(false, message), c.ping()); err != nil {
				sent <- err
				return
			}
		}
		sent <- c.send(true) // the last one: until then the other goroutine must receive, for pongs
	}()
	for n := 0; ; n++ {
		text, got, err := c.receive()
		switch {
		case err != nil:
			return err
		case text && n == rounds:
			return errors.Join(<-sent, c.close(1000, ""))
		case !bytes.Equal(got, message):
			return errors.New("the message is one of another connection")
		}
	}
}

// A message above the limit of the receiver ends the connection with code 1009.
func TestWebSocketTooLarge(t *testing.T) {
	onSides(t, func(t *testing.T, s side) {
		for _, library := range wsLibraries {
			t.Run(library.name, func(t *testing.T) {
				ln := s.listen(t, "tcp")
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					c, err := library.accept(w, r)
					if err != nil {
						t.Error(err)
						return
					}
					if _, _, err := c.receive(); err == nil {
						t.Error("the server takes a message above its limit")
					}
					c.close(1009, "")
				})
				serve(t, ln, &http.Server{Handler: handler, ReadHeaderTimeout: testkit.Watchdog})
				c, err := dialGorilla(watchdog(t), s, "ws://"+ln.Addr().String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.abort()
				if conn := c.(gorillaConn).NetConn(); !s.isConn(conn) {
					t.Errorf("the client has a %T", conn)
				}
				sent := make(chan error, 1)
				go func() { sent <- c.send(false, testkit.Text(readLimitBytes+1)) }()
				_, _, err = c.receive()
				if e, ok := errors.AsType[closeError](err); !ok || e.code != 1009 {
					t.Errorf("%v, want a close frame with 1009", err)
				}
				c.abort()
				<-sent // nil, or an error: as much as buffers hold
			})
		}
	})
}
