package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// An authority signs certificates.
type authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// newAuthority returns one that is valid at the time of the bubble.
func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, der := sign(t, template, template, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, serial: 1}
}

// sign makes a key, and its certificate, signed by by, or by itself.
func sign(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// pair returns a certificate for name, for servers and for clients, and its key in PEM format.
func (a *authority) pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	a.serial++
	private, der := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// A running is the server of this package on a simulated host, and another host for its clients.
type running struct {
	*authority
	k       *certificate
	address string
	server  *looptest.Host
	clients *looptest.Host
}

// start starts a server with a certificate for server.example. It must be called in a bubble.
func start(t *testing.T) *running {
	t.Helper()
	n := looptest.New(t, looptest.Config{})
	dir := t.TempDir()
	s := &running{authority: newAuthority(t), server: n.Host(), clients: n.Host()}
	s.k = &certificate{certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem")}
	s.replace(t)
	if err := s.k.reload(); err != nil {
		t.Fatal(err)
	}
	s.address = netip.AddrPortFrom(s.server.Addr(), 443).String()
	if _, err := listen(s.server.NewGroup(loop.Config{}), s.address, newConfig(s.k, s.pool())); err != nil {
		t.Fatal(err)
	}
	return s
}

// replace writes a new certificate to the files of the server.
func (s *running) replace(t *testing.T) {
	t.Helper()
	cert, key := s.pair(t, "server.example")
	for file, text := range map[string][]byte{s.k.certFile: cert, s.k.keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// config returns the configuration of a client that has a certificate for name, unless it is empty.
func (s *running) config(t *testing.T, name string) *tls.Config {
	t.Helper()
	config := &tls.Config{RootCAs: s.pool(), ServerName: "server.example"}
	if name != "" {
		pair, err := tls.X509KeyPair(s.pair(t, name))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// connect returns a client of crypto/tls, whose handshake follows.
func (s *running) connect(t *testing.T, config *tls.Config) *tls.Conn {
	t.Helper()
	raw, err := s.clients.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return tls.Client(raw, config)
}

// serialOf returns the serial number of the certificate that a new client gets.
func (s *running) serialOf(t *testing.T) int64 {
	t.Helper()
	c := s.connect(t, s.config(t, "alice"))
	defer c.Close()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// A client is greeted by the name in its certificate, and gets back what it sends.
func TestGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t).dial(t, "alice")
		lines := bufio.NewReader(c)
		if got, err := lines.ReadString('\n'); got != "hello alice, by TLS 1.3\n" {
			t.Errorf("%q, %v", got, err)
		}
		fmt.Fprintln(c, "ping")
		if got, err := lines.ReadString('\n'); got != "ping\n" {
			t.Errorf("%q, %v", got, err)
		}
		c.CloseWrite()
		if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v after the end", rest, err)
		}
	})
}

func (s *running) dial(t *testing.T, name string) *tls.Conn {
	t.Helper()
	return s.connect(t, s.config(t, name))
}

// A client without a certificate, or with one of another CA, gets an alert in place of the greeting.
func TestClientCertificateIsRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		other := newAuthority(t)
		stranger := s.config(t, "")
		pair, err := tls.X509KeyPair(other.pair(t, "alice"))
		if err != nil {
			t.Fatal(err)
		}
		stranger.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		for what, config := range map[string]*tls.Config{"no certificate": s.config(t, ""), "another CA": stranger} {
			got, err := io.ReadAll(s.connect(t, config))
			if alert := new(net.OpError); len(got) > 0 || !errors.As(err, &alert) || alert.Op != "remote error" {
				t.Errorf("%s: %q, %v, want an alert", what, got, err)
			}
		}
	})
}

// Handshakes use the certificate that was read last. Files that are not valid change nothing.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		before := s.serialOf(t)
		s.replace(t)
		if got := s.serialOf(t); got != before {
			t.Errorf("certificate %d before reload, want %d", got, before)
		}
		if err := s.k.reload(); err != nil {
			t.Fatal(err)
		}
		after := s.serialOf(t)
		if after == before {
			t.Errorf("certificate %d after reload, too", after)
		}
		if err := os.WriteFile(s.k.keyFile, []byte("no key"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.k.reload(); err == nil {
			t.Error("reload returned no error")
		}
		if got := s.serialOf(t); got != after {
			t.Errorf("certificate %d after a failed reload, want %d", got, after)
		}
	})
}

// A line is what a client's handler gets first.
type line chan string

func (l line) Data(_ *loop.Conn, b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// A client on a loop connects by name. The name is that in the server's certificate, too.
func TestGreetByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		hosts := filepath.Join(t.TempDir(), "hosts")
		if err := os.WriteFile(hosts, []byte(s.server.String()+" server.example other.example\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := dns.New(dns.Config{Group: s.clients.NewGroup(loop.Config{}), Strategy: dns.Inline, Hosts: hosts, ResolvConf: os.DevNull})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		config := s.config(t, "bob")
		config.ServerName = "" // that of the address
		got := make(line, 10)
		if err := greet(t.Context(), &dns.Dialer{Resolver: r}, "server.example:443", config, got); err != nil {
			t.Fatal(err)
		}
		if first := <-got; first != "hello bob, by TLS 1.3\n" {
			t.Errorf("the first line is %q", first)
		}
		if echo := <-got; echo != "hello server\n" {
			t.Errorf("the second line is %q", echo)
		}
		wrong := new(tls.CertificateVerificationError)
		if err := greet(t.Context(), &dns.Dialer{Resolver: r}, "other.example:443", config, got); !errors.As(err, &wrong) {
			t.Errorf("by another name: %v, want a CertificateVerificationError", err)
		}
	})
}

// A client that is silent is cut off.
func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		raw, err := s.clients.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		begun := time.Now()
		io.Copy(io.Discard, raw)
		if took := time.Since(begun).Round(time.Second); took != 3*time.Second {
			t.Errorf("it took %v, want HandshakeTimeout", took)
		}
	})
}

var _ loop.ClosedHandler = session{}

var _ tlsconn.Dialer = (*dns.Dialer)(nil)
