package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// A client of crypto/tls gets back every byte that it has sent, and then the end, on every backend.
func TestServerEchoes(t *testing.T) {
	data := text(1 << 20)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		versions(t, func(t *testing.T, server, client *tls.Config) {
			r := newRecorder()
			r.echo = true
			ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, r) }))
			defer ln.Close()
			c := must(tls.Dial("tcp", ln.Addr().String(), client))
			defer c.Close()
			go func() {
				c.Write(data)
				c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %d bytes, %v; want the %d that were sent, and close_notify", len(got), err, len(data))
			}
			if why := <-r.closed; why != nil {
				t.Error("Closed got", why)
			}
			if got := r.callbacks(); got != "ODRC" {
				t.Errorf("callbacks %s, want ODRC", got)
			}
		})
	})
}

// A server of crypto/tls gets every byte, and then close_notify.
func TestClientSends(t *testing.T) {
	data := text(1 << 20)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		versions(t, func(t *testing.T, server, client *tls.Config) {
			ln := must(tls.Listen("tcp", "127.0.0.1:0", server))
			defer ln.Close()
			got := make(chan []byte, 1)
			errs := make(chan error, 1)
			go func() {
				c := must(ln.Accept())
				defer c.Close()
				b, err := io.ReadAll(c)
				if err == nil {
					_, err = io.WriteString(c, "answer")
				}
				got <- b
				errs <- err
			}()
			r := newRecorder()
			c, err := tlsconn.Dial(t.Context(), g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return r })
			if err != nil {
				t.Fatal(err)
			}
			state, ok := tlsconn.ConnectionState(c)
			if !ok || state.ServerName != "server.example" || len(state.PeerCertificates) == 0 {
				t.Errorf("ConnectionState: %+v, %v", state, ok)
			}
			c.Write(data)
			c.CloseWrite()
			if b, err := <-got, <-errs; err != nil || !bytes.Equal(b, data) {
				t.Fatalf("the server got %d bytes, %v", len(b), err)
			}
			if why := <-r.closed; why != nil {
				t.Error("Closed got", why)
			}
			if b := r.received(); string(b) != "answer" {
				t.Errorf("the client got %q", b)
			}
		})
	})
}

// Truncation is not the end: Closed gets io.ErrUnexpectedEOF.
func TestTruncation(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		versions(t, func(t *testing.T, server, client *tls.Config) {
			r := newRecorder()
			ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, r) }))
			defer ln.Close()
			raw := must(net.Dial("tcp", ln.Addr().String()))
			c := tls.Client(raw, client)
			if _, err := io.WriteString(c, "some"); err != nil {
				t.Fatal(err)
			}
			raw.(*net.TCPConn).CloseWrite()
			mustTruncated(t, <-r.closed)
			raw.Close()
			if got := r.received(); string(got) != "some" {
				t.Errorf("Data got %q", got)
			}
			if got := r.callbacks(); got != "ODC" {
				t.Errorf("callbacks %s, want ODC: no ReadClosed", got)
			}
		})
	})
}
