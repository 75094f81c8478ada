package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
)

// LoadRoots reads the certificates to trust from a file in PEM format: those of authorities, or of servers. The error
// names the file and what to do.
func LoadRoots(file string) (*x509.CertPool, error) {
	b, err := readFile("CA certificates", file)
	if err != nil {
		return nil, err
	}
	switch in := kindsOf(b); {
	case in.total() == 0 && bytes.Contains(b, []byte("-----BEGIN ")):
		return nil, fmt.Errorf("CA certificates file %s: its PEM blocks are damaged; give a file in PEM format", file)
	case in.total() == 0:
		return nil, fmt.Errorf(`CA certificates file %s: it has no PEM block; convert it: "openssl x509 -inform DER -in %s"`, file, file)
	case in.certificates == 0 && in.keys > 0:
		return nil, fmt.Errorf("CA certificates file %s: it has a private key; give certificates", file)
	case in.certificates == 0:
		return nil, fmt.Errorf("CA certificates file %s: it has no certificate; its PEM blocks must be CERTIFICATE", file)
	}
	if err := checkCertificates(b); err != nil {
		return nil, fmt.Errorf("CA certificates file %s: %w; give certificates in PEM format", file, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("CA certificates file %s: it has no certificate that can be used; its PEM blocks must have no headers", file)
	}
	return pool, nil
}
