package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// pair is a certificate and its key in PEM format.
type pair struct{ cert, key string }

// newPair makes a pair for example.org that is valid from and until.
func newPair(t *testing.T, from, until time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.org"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)}
}

func valid(t *testing.T) pair {
	return newPair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func block(kind string, b []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
}

// write writes a file, and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	p, dir := valid(t), testkit.TempDir(t)
	issuer := valid(t)
	both := write(t, filepath.Join(dir, "both.pem"), p.key+p.cert+issuer.cert)
	s, err := Load(both, both)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.current.Load(); len(c.Certificate) != 2 || s.SelfSigned() || s.Warning(time.Now()) != "" {
		t.Errorf("%d certificates, want 2; self-signed: %v; warning %q", len(c.Certificate), s.SelfSigned(), s.Warning(time.Now()))
	}
}

// Each error names the file and what to do, and has no part of a key.
func TestLoadErrors(t *testing.T) {
	p, other, dir := valid(t), valid(t), testkit.TempDir(t)
	der, _ := pem.Decode([]byte(p.key))
	garbage := block("PRIVATE KEY", der.Bytes[:len(der.Bytes)-40])
	file := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	cert, key := file("cert.pem", p.cert), file("key.pem", p.key)
	for name, c := range map[string]struct{ cert, key, at, want string }{
		"no certificate file":   {filepath.Join(dir, "none"), key, filepath.Join(dir, "none"), "; give the path of the file"},
		"no key file":           {cert, filepath.Join(dir, "none"), filepath.Join(dir, "none"), "; give the path of the file"},
		"a directory":           {dir, key, dir, "; give a file in PEM format"},
		"empty":                 {file("empty", "\n"), key, "empty", "it is empty"},
		"too large":             {cert, file("large", strings.Repeat("x", maxFileBytes+1)), "large", "it is larger than"},
		"DER certificate":       {file("der", "\x30\x82"), key, "der", "openssl x509 -inform DER"},
		"DER key":               {cert, file("derkey", string(der.Bytes)), "derkey", "openssl pkey -inform DER"},
		"exchanged":             {key, cert, "key.pem", "exchange --tls-cert and --tls-key"},
		"twice the certificate": {cert, cert, "cert.pem", "it has no private key"},
		"twice the key":         {key, key, "key.pem", "it has no certificate"},
		"another key":           {cert, file("other", other.key), "other", "does not belong to the certificate of"},
		"encrypted key":         {cert, file("locked", block("ENCRYPTED PRIVATE KEY", der.Bytes)), "locked", "openssl pkey -in"},
		"garbled key":           {cert, file("garbled", garbage), "garbled", "cannot be parsed"},
		"garbled certificate":   {file("cut", p.cert+block("CERTIFICATE", []byte("x"))), key, "cut", "certificate 2 cannot be parsed"},
	} {
		_, err := Load(c.cert, c.key)
		if err == nil || !strings.Contains(err.Error(), c.at) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q and %q", name, err, c.at, c.want)
			continue
		}
		for _, secret := range []string{p.key, garbage, string(der.Bytes)} {
			for i := 40; i+12 < len(secret); i += 12 {
				if strings.Contains(err.Error(), secret[i:i+12]) {
					t.Errorf("%s: the error has a part of the key: %v", name, err)
				}
			}
		}
	}
}

// A pair that cannot be read leaves the previous one in use, and the next that can replaces it.
func TestReloadKeepsThePreviousCertificate(t *testing.T) {
	dir := testkit.TempDir(t)
	first, second := valid(t), valid(t)
	cert, key := write(t, filepath.Join(dir, "cert"), first.cert), write(t, filepath.Join(dir, "key"), first.key)
	s, err := Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config, before := s.Config(), s.Fingerprint()
	write(t, cert, second.cert) // renewed, but its key is not there yet
	if err := s.Reload(); err == nil || s.Fingerprint() != before {
		t.Errorf("%v, and the certificate is another one: %v", err, s.Fingerprint() != before)
	}
	write(t, key, second.key)
	if err := s.Reload(); err != nil || s.Fingerprint() == before {
		t.Errorf("%v, and the certificate is the same: %v", err, s.Fingerprint() == before)
	}
	if c, err := config.GetCertificate(&tls.ClientHelloInfo{}); err != nil || c != s.current.Load() {
		t.Errorf("a handshake gets %p, %v, want the current certificate", c, err)
	}
}

func TestWarning(t *testing.T) {
	dir, from, until := testkit.TempDir(t), time.Unix(1e9, 0), time.Unix(1e9+1e8, 0)
	p := newPair(t, from, until)
	s, err := Load(write(t, filepath.Join(dir, "cert"), p.cert), write(t, filepath.Join(dir, "key"), p.key))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]string{
		from: "", until: "",
		from.Add(-time.Second): "cert is not valid before 2001-09-09 01:46:40 UTC",
		until.Add(time.Second): "cert expired on 2004-11-09 11:33:20 UTC",
	} {
		if got := s.Warning(at); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("at %v: %q, want %q", at, got, want)
		}
	}
}

// A client that trusts a self-signed certificate accepts it for localhost and the server's addresses, and for
// nothing else.
func TestSelfSign(t *testing.T) {
	s, err := SelfSign([]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.IPv6Unspecified()})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.leaf())
	names := []string{"localhost", "127.0.0.1", "::1", "192.0.2.1", "192.0.2.2"}
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		names = append(names, a.(*net.IPNet).IP.String())
	}
	for _, name := range names {
		if _, err := s.leaf().Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.leaf().Verify(x509.VerifyOptions{Roots: roots, DNSName: "192.0.2.3"}); err == nil {
		t.Error("it is valid for a foreign address")
	}
	before := s.Fingerprint()
	if err := s.Reload(); err != nil || s.Fingerprint() != before || !s.SelfSigned() {
		t.Errorf("%v, or Reload has changed it", err)
	}
}

// The fingerprint is what openssl prints.
func TestFingerprint(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl, which prints the fingerprint to compare with, is not installed")
	}
	s, err := SelfSign(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(openssl, "x509", "-noout", "-fingerprint", "-sha256")
	c.Stdin = strings.NewReader(block("CERTIFICATE", s.leaf().Raw))
	out, err := c.Output()
	if _, want, _ := strings.Cut(strings.TrimSpace(string(out)), "="); err != nil || s.Fingerprint() != want {
		t.Errorf("%s, want %s, %v", s.Fingerprint(), want, err)
	}
}
