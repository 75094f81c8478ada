// Tls is a server whose clients have certificates, and whose own certificate can be replaced while it runs. See
// docs/tls.md.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// A session greets its client by the name in its certificate, and echoes what it sends.
type session struct{}

func (session) Opened(c *loop.Conn) {
	state, _ := tlsconn.ConnectionState(c)
	fmt.Fprintf(c, "hello %s, by %s\n", state.PeerCertificates[0].Subject.CommonName, tls.VersionName(state.Version))
}

func (session) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

func (session) Closed(c *loop.Conn, why error) {
	if errors.Is(why, tlsconn.ErrTruncated) {
		log.Printf("%v has sent less than it wanted to", c.RemoteAddr())
	}
}

// A certificate is that of files, which may be read again while the server runs.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// reload reads the files. If that fails, the previous certificate stays in use.
func (k *certificate) reload() error {
	c, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err == nil {
		k.current.Store(&c)
	}
	return err
}

// get returns the certificate for a handshake.
func (k *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return k.current.Load(), nil
}

// newConfig returns the configuration of a server whose clients must have a certificate of one of the given CAs.
func newConfig(k *certificate, clients *x509.CertPool) *tls.Config {
	return &tls.Config{
		GetCertificate: k.get,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      clients,
	}
}

func listen(g *loop.Group, address string, config *tls.Config) (*loop.Listener, error) {
	secure := tlsconn.Options{
		HandshakeTimeout: 3 * time.Second,
		HandshakeFailed:  func(_ *loop.Conn, err error) { log.Print(err) },
	}
	return g.Listen("tcp", address, func(*loop.Conn) loop.Handler { return secure.Server(config, session{}) })
}

// greet is a client: it connects by d, which may be a *dns.Dialer, and sends a line. h gets the answers.
func greet(ctx context.Context, d tlsconn.Dialer, address string, config *tls.Config, h loop.Handler) error {
	c, err := tlsconn.Dial(ctx, d, "tcp", address, config, func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, "hello server\n")
	return err
}

// readPool returns the CA certificates of a file.
func readPool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM format", file)
	}
	return pool, nil
}

// handleHangups reloads the certificate at each SIGHUP.
func (k *certificate) handleHangups() {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	for range hangups {
		if err := k.reload(); err != nil {
			log.Printf("the previous certificate stays in use: %v", err)
		}
	}
}

func main() {
	k := &certificate{}
	address := flag.String("listen", "127.0.0.1:7000", "the `address` to listen at")
	flag.StringVar(&k.certFile, "cert", "cert.pem", "the `file` with the server's certificate")
	flag.StringVar(&k.keyFile, "key", "key.pem", "the `file` with its private key")
	clients := flag.String("clients", "clients.pem", "the `file` with the certificates of the CAs of clients")
	flag.Parse()
	if err := k.reload(); err != nil {
		log.Fatal(err)
	}
	go k.handleHangups()
	pool, err := readPool(*clients)
	if err != nil {
		log.Fatal(err)
	}
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := listen(g, *address, newConfig(k, pool))
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("at %v, by %s; records in place: %v", ln.Addr(), g.Backend(), tlsconn.StatsOf(g).InPlace)
	log.Fatal(g.Wait()) // until all loops have failed
}
