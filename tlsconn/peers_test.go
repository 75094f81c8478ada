package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// openssl s_client is served on every backend: KeyUpdates, half-close, a renegotiation that is refused.
func TestOpenSSLClient(t *testing.T) {
	path := tlstest.OpenSSL(t)
	certificate, _ := tlstest.PEMFiles(t)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		for _, flag := range []string{"-tls1_2", "-tls1_3"} {
			t.Run(flag, func(t *testing.T) {
				server, _ := tlstest.Configs(tls.VersionTLS13)
				server.NextProtos = []string{"echo"}
				r := newRecorder()
				r.echo = true
				ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, r) }))
				defer ln.Close()
				p := tlstest.Start(t, path, "s_client", "-connect", ln.Addr().String(), flag, "-servername", "server.example", "-alpn", "echo",
					"-CAfile", certificate, "-verify_return_error", "-verify_hostname", "server.example")
				p.Say("first line")
				p.Expect("first line")
				if state, ok := tlsconn.ConnectionState(<-r.opened); !ok || state.NegotiatedProtocol != "echo" || state.ServerName != "server.example" {
					t.Errorf("ConnectionState: %+v, %v", state, ok)
				}
				if flag == "-tls1_3" {
					p.Say("K") // KeyUpdate, with a request for the other direction's
					p.Expect("KEYUPDATE")
					p.Say("second line")
					p.Expect("second line")
					p.Say("Q")
					if why := <-r.closed; why != nil {
						t.Error("Closed got", why)
					}
					return
				}
				p.Say("R") // renegotiation
				p.Expect("RENEGOTIATING")
				p.Expect("alert")
				if why := <-r.closed; why == nil {
					t.Error("a renegotiation was not refused")
				}
			})
		}
	})
}

// A client's connection to openssl s_server works on every backend.
func TestOpenSSLServer(t *testing.T) {
	path := tlstest.OpenSSL(t)
	certificate, key := tlstest.PEMFiles(t)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		for _, flag := range []string{"-tls1_2", "-tls1_3"} {
			t.Run(flag, func(t *testing.T) {
				_, client := tlstest.Configs(tls.VersionTLS13)
				client.CurvePreferences = nil // openssl wants that of the certificate to be among them
				p := tlstest.Start(t, path, "s_server", "-accept", "127.0.0.1:0", flag, "-cert", certificate, "-key", key)
				address := strings.TrimPrefix(p.Expect("ACCEPT 127.0.0.1:"), "ACCEPT ")
				r := newRecorder()
				c, err := tlsconn.Dial(t.Context(), g, "tcp", address, client, func(*loop.Conn) loop.Handler { return r })
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(c, "from the client\n")
				p.Expect("from the client")
				io.WriteString(c, "from the client again\n")
				p.Expect("from the client again")
				p.Say("from the server")
				if !testkit.Eventually(func() bool { return len(r.received()) == 16 }) {
					t.Error("nothing came from the server")
				}
				c.CloseWrite()
				<-r.ended
				if why := <-r.closed; why != nil || string(r.received()) != "from the server\n" {
					t.Errorf("the client got %q, Closed %v", r.received(), why)
				}
			})
		}
	})
}

// helloHTTP answers each request of HTTP/1.1 without a body.
type helloHTTP struct{ size int }

func (h helloHTTP) Data(c *loop.Conn, b []byte) (int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	c.Writev([][]byte{[]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"), text(h.size)})
	return end + 4, c.Close()
}

// curl gets a large response whose end is that of the connection, and so would notice a truncation.
func TestCurl(t *testing.T) {
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("skipped: no curl on this machine (Debian: apt-get install curl)")
	}
	certificate, _ := tlstest.PEMFiles(t)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		server, _ := tlstest.Configs(tls.VersionTLS13)
		ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
			return tlsconn.Peek(func(hello tlsconn.ClientHello) loop.Handler {
				if hello.ServerName != "server.example" {
					t.Errorf("curl has sent %+v", hello)
				}
				return tlsconn.Server(server, helloHTTP{size: 3 << 20})
			})
		}))
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		got, err := exec.Command(path, "--silent", "--show-error", "--http1.1", "--noproxy", "*", "--cacert", certificate,
			"--connect-to", "server.example:443:127.0.0.1:"+port, "https://server.example/").Output()
		if err != nil || !bytes.Equal(got, text(3<<20)) {
			t.Errorf("curl got %d bytes, %v", len(got), err)
		}
	})
}
