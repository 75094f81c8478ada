package interop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// maxMessageBytes is the largest message of the tests, and readLimitBytes what the libraries take: a compressed message may be
// larger.
const (
	maxMessageBytes = 256 << 10
	readLimitBytes  = 2 * maxMessageBytes
)

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
