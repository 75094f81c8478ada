// Package certs has the certificates of "pollux serve": read from files, which may be read again while the server runs,
// or made for one run. It also has those that "pollux fetch" trusts.
package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// A Source has the current certificate of a server. Its methods may be called from any goroutine.
type Source struct {
	certFile, keyFile string // empty: self-signed
	current           atomic.Pointer[tls.Certificate]
}

// Load reads a certificate, with those of its issuers behind it, and its private key from files in PEM format.
// Both may be in one file. The error names the file and what to do, and has nothing of the key.
func Load(certFile, keyFile string) (*Source, error) {
	s := &Source{certFile: certFile, keyFile: keyFile}
	return s, s.Reload()
}

// Reload reads the files again. If that fails, the previous certificate stays in use.
func (s *Source) Reload() error {
	if s.SelfSigned() {
		return nil
	}
	c, err := read(s.certFile, s.keyFile)
	if err != nil {
		return err
	}
	s.current.Store(c)
	return nil
}

// SelfSigned reports whether the certificate was made by SelfSign.
func (s *Source) SelfSigned() bool { return s.certFile == "" }

// Config returns a configuration whose handshakes use the certificate that is current when they begin.
func (s *Source) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load(), nil },
	}
}

// Fingerprint returns the SHA-256 hash of the certificate, as "openssl x509 -fingerprint -sha256" prints it.
func (s *Source) Fingerprint() string {
	sum := sha256.Sum256(s.leaf().Raw)
	var parts []string
	for _, b := range sum {
		parts = append(parts, fmt.Sprintf("%02X", b))
	}
	return strings.Join(parts, ":")
}

// Expiry returns when the certificate expires, as text.
func (s *Source) Expiry() string { return utc(s.leaf().NotAfter) }

// Warning returns why clients will refuse the certificate at the time now, or "".
func (s *Source) Warning(now time.Time) string {
	switch leaf := s.leaf(); {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the certificate of %s expired on %s: clients will refuse it; renew it", s.certFile, utc(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate of %s is not valid before %s: clients will refuse it; check the clock", s.certFile, utc(leaf.NotBefore))
	}
	return ""
}

func utc(t time.Time) string { return t.UTC().Format(time.DateTime + " UTC") }

func (s *Source) leaf() *x509.Certificate { return s.current.Load().Leaf }
