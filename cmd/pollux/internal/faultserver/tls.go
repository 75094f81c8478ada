package faultserver

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority issues certificates.
type Authority struct {
	Pool        *x509.CertPool // its own certificate
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority returns an authority that no system trusts.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{Pool: x509.NewCertPool()}
	c := a.issue(t, true, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = "authority", true, true, x509.KeyUsageCertSign
	})
	a.certificate, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.Pool.AddCert(a.certificate)
	return a
}

// Issue returns a certificate for name.test, localhost and the loopback addresses, which is valid now, after edit has changed
// it. edit may be nil.
func (a *Authority) Issue(t testing.TB, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	return a.issue(t, false, edit)
}

// SelfSigned is Issue for a certificate that is its own issuer.
func (a *Authority) SelfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	return a.issue(t, true, nil)
}

func (a *Authority) issue(t testing.TB, self bool, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "leaf"},
		DNSNames: []string{"name.test", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if edit != nil {
		edit(template)
	}
	parent, signer := template, key
	if !self {
		parent, signer = a.certificate, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// File writes the authority's certificate to a file in PEM format, and returns its path.
func (a *Authority) File(t testing.TB, dir string) string {
	t.Helper()
	return writePEM(t, filepath.Join(dir, "authority.pem"), "CERTIFICATE", a.certificate.Raw)
}

// Files writes a certificate and its key to files in PEM format, and returns their paths.
func Files(t testing.TB, dir string, c tls.Certificate) (certificate, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, filepath.Join(dir, "certificate.pem"), "CERTIFICATE", c.Certificate[0]),
		writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", der)
}

func writePEM(t testing.TB, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TLS starts a server that does a TLS handshake and reads a request, then calls answer, and closes with close_notify. answer
// may close the NetConn before: that is without.
func TLS(t testing.TB, config *tls.Config, answer func(c *tls.Conn, r *http.Request)) *Server {
	t.Helper()
	s := Raw(t, func(raw *net.TCPConn) {
		c := tls.Server(raw, config)
		defer c.Close()
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			answer(c, r)
		}
	})
	s.scheme = "https"
	return s
}

// IssueFor is Issue for the names only.
func (a *Authority) IssueFor(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	return a.Issue(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = names, nil })
}
