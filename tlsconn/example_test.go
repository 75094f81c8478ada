package tlsconn_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

type session struct{}

func (session) Data(c *loop.Conn, b []byte) (int, error) { return len(b), nil }

// A server gains TLS by one line: its handler does not change.
func ExampleServer() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair("certificate.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	_, err = g.Listen("tcp", ":443", func(*loop.Conn) loop.Handler { return tlsconn.Server(config, session{}) })
	if err != nil {
		log.Fatal(err)
	}
}

// Failed handshakes are logged, and clients have less time for them than by default.
func ExampleOptions() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{ /* Certificates */ }
	secure := tlsconn.Options{
		HandshakeTimeout: 3 * time.Second,
		HandshakeFailed:  func(_ *loop.Conn, err error) { log.Print(err) },
	}
	_, err = g.Listen("tcp", ":443", func(*loop.Conn) loop.Handler { return secure.Server(config, session{}) })
	if err != nil {
		log.Fatal(err)
	}
}

// A client connects to an address. With a dns.Dialer instead of the group, it may be a name.
func ExampleDial() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{ServerName: "example.org"} // the name in the server's certificate
	c, err := tlsconn.Dial(context.Background(), g, "tcp", "192.0.2.1:443", config, func(*loop.Conn) loop.Handler { return session{} })
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
}

// Connections are routed by the name that the client asks for: to a handler, or, without being decrypted, to another
// server.
func ExamplePeek() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{ /* Certificates */ }
	other, err := loop.RelayTo("tcp", "192.0.2.1:443", loop.RelayConfig{})
	if err != nil {
		log.Fatal(err)
	}
	choose := func(hello tlsconn.ClientHello) loop.Handler {
		switch hello.ServerName {
		case "www.example.org":
			return tlsconn.Server(config, session{})
		case "other.example.org":
			return other
		}
		return nil // closes the connection
	}
	_, err = g.Listen("tcp", ":443", func(*loop.Conn) loop.Handler { return tlsconn.Peek(choose) })
	if err != nil {
		log.Fatal(err)
	}
}

// upgrading is a protocol that begins in plaintext. A line STARTTLS changes that.
type upgrading struct{ config *tls.Config }

func (u upgrading) Data(c *loop.Conn, b []byte) (int, error) {
	const command = "STARTTLS\n"
	if len(b) < len(command) {
		return 0, nil
	}
	if string(b[:len(command)]) != command {
		return 0, c.Close()
	}
	io.WriteString(c, "ready\n") // leaves in plaintext
	return len(command), c.SetHandler(tlsconn.Server(u.config, session{}))
}

// SetHandler begins TLS on an open connection.
func ExampleServer_startTLS() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{ /* Certificates */ }
	_, err = g.Listen("tcp", ":25", func(*loop.Conn) loop.Handler { return upgrading{config} })
	if err != nil {
		log.Fatal(err)
	}
}
